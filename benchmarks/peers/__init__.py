"""The job queues a user might pick instead. They import nothing of the product."""
