"""The core services, all that backend code needs: `from core import cache, get_logger, monitor, payment`.

Each facade is one plain object that chooses what is behind it by the environment, at each call. Importing this
opens, writes and checks nothing, and imports no vendor.
"""

from core.caching import cache
from core.logs import get_logger, log_db_query, log_error, log_request
from core.monitoring import monitor
from core.payments import PaymentError, PaymentStatus, payment

__all__ = [
    "PaymentError",
    "PaymentStatus",
    "cache",
    "get_logger",
    "log_db_query",
    "log_error",
    "log_request",
    "monitor",
    "payment",
]
