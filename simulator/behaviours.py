"""Stripe's published test payment methods and what each makes happen (docs.stripe.com/testing)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Decline:
    """What a card_error says."""

    code: str
    decline_code: str
    message: str
    param: str | None = None


@dataclass(frozen=True)
class Behaviour:
    """What a test payment method does.

    Attributes:
        brand: as on the card; for a bank account, us_bank_account.
        last4: of the number.
        decline: the charge is declined so.
        authenticate: the customer must authenticate first.
        afterwards: the timer action that follows a charge (dispute, inquiry) ...
        refund: ... or the fate of its refunds (pending, fails).
        processing: the charge takes time: succeeded, failed, or stuck.
    """

    brand: str = "visa"
    last4: str = "4242"
    decline: Decline | None = None
    authenticate: bool = False
    afterwards: str | None = None
    refund: str | None = None
    processing: str | None = None


GENERIC = Decline("card_declined", "generic_decline", "Your card was declined.")
INSUFFICIENT = Decline("card_declined", "insufficient_funds", "Your card has insufficient funds.")
LOST = Decline("card_declined", "lost_card", "Your card was declined.")
STOLEN = Decline("card_declined", "stolen_card", "Your card was declined.")
VELOCITY = Decline(
    "card_declined",
    "card_velocity_exceeded",
    "Your card was declined for making repeated attempts too frequently or exceeding its amount limit.",
)
EXPIRED = Decline("expired_card", "expired_card", "Your card has expired.", "exp_month")
CVC = Decline("incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect.", "cvc")
PROCESSING = Decline(
    "processing_error",
    "processing_error",
    "An error occurred while processing your card. Try again in a little bit.",
)
OFF_SESSION = Decline(
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
)
BANK_DECLINE = Decline(
    "insufficient_funds", "insufficient_funds", "The customer's account has insufficient funds to cover this payment."
)

_CARDS = {
    "visa": Behaviour(),
    "visa_debit": Behaviour(last4="5556"),
    "mastercard": Behaviour("mastercard", "4444"),
    "mastercard_debit": Behaviour("mastercard", "8210"),
    "mastercard_prepaid": Behaviour("mastercard", "5100"),
    "amex": Behaviour("amex", "8431"),
    "discover": Behaviour("discover", "1117"),
    "diners": Behaviour("diners", "0505"),
    "jcb": Behaviour("jcb", "0505"),
    "unionpay": Behaviour("unionpay", "0005"),
    "chargeDeclined": Behaviour(last4="0002", decline=GENERIC),
    "chargeDeclinedInsufficientFunds": Behaviour(last4="9995", decline=INSUFFICIENT),
    "chargeDeclinedLostCard": Behaviour(last4="9987", decline=LOST),
    "chargeDeclinedStolenCard": Behaviour(last4="9979", decline=STOLEN),
    "chargeDeclinedVelocityLimitExceeded": Behaviour(last4="6975", decline=VELOCITY),
    "chargeDeclinedExpiredCard": Behaviour(last4="0069", decline=EXPIRED),
    "chargeDeclinedIncorrectCvc": Behaviour(last4="0127", decline=CVC),
    "chargeDeclinedProcessingError": Behaviour(last4="0119", decline=PROCESSING),
    "chargeCustomerFail": Behaviour(last4="0341", decline=GENERIC),
    "authenticationRequired": Behaviour(last4="3184", authenticate=True),
    "authenticationRequiredChargeDeclinedInsufficientFunds": Behaviour(
        last4="8232", authenticate=True, decline=INSUFFICIENT
    ),
    "threeDSecureRequired": Behaviour(last4="3063", authenticate=True),
    "threeDSecure2Required": Behaviour(last4="3220", authenticate=True),
    "threeDSecureRequiredChargeDeclined": Behaviour(last4="1629", authenticate=True, decline=GENERIC),
    "threeDSecureOptional": Behaviour(last4="3055"),
    "refundFail": Behaviour(last4="5126", refund="fails"),
    "pendingRefund": Behaviour(last4="7726", refund="pending"),
    "createDispute": Behaviour(last4="0259", afterwards="dispute_fraudulent"),
    "createDisputeProductNotReceived": Behaviour(last4="2685", afterwards="dispute_product_not_received"),
    "createDisputeInquiry": Behaviour(last4="1976", afterwards="inquiry_fraudulent"),
}
_BANKS = {
    "success": Behaviour("us_bank_account", "6789", processing="succeeded"),
    "insufficientFunds": Behaviour("us_bank_account", "2227", processing="failed", decline=BANK_DECLINE),
    "processing": Behaviour("us_bank_account", "0045", processing="stuck"),
}


def behaviour(name: str) -> Behaviour | None:
    """The behaviour of `pm_card_...`, `pm_usBankAccount_...` or `tok_...`; None if Stripe publishes no such name.

    Declines are published both with and without the brand: pm_card_visa_chargeDeclined is pm_card_chargeDeclined.
    """
    if name.startswith("pm_usBankAccount_"):
        return _BANKS.get(name.removeprefix("pm_usBankAccount_"))
    for prefix in ("pm_card_", "tok_"):
        if name.startswith(prefix):
            rest = name.removeprefix(prefix)
            return _CARDS.get(rest) or _CARDS.get(rest.removeprefix("visa_"))
    return None
