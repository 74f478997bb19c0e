"""What customers write to support about, and what support does: the content of the conversations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Issue:
    """One kind of case.

    `openings` are paraphrases of the customer's complaint, `action` what support does about it, `days` how many
    working days that takes.
    """

    category: str
    openings: tuple[str, str, str]
    action: str
    days: int


ISSUES = (
    Issue("Delivery", ("my parcel has not arrived", "I am still waiting for my parcel", "my delivery is overdue"),
          "I have asked the courier to search for the parcel", 3),
    Issue("Delivery", ("my parcel came with a crushed box and broken glass", "the goods were damaged on the way",
                       "everything in the box was broken when it came"),
          "a replacement has been packed and leaves tomorrow", 2),
    Issue("Delivery", ("I need the parcel sent to another address", "please change where my order is going",
                       "I have moved and the order must go to my new home"),
          "I have put the shipment on hold until you send the new address", 1),
    Issue("Delivery", ("one of my items is missing from the box", "the box was not complete", "an item was left out"),
          "the missing item is on its way to you", 2),
    Issue("Delivery", ("the courier says nobody was at home", "I missed the courier", "I was out when the van came"),
          "I have booked a second delivery attempt", 1),
    Issue("Billing", ("I was charged twice", "the same amount left my card two times", "you took the money twice"),
          "I have returned the second payment to your card", 5),
    Issue("Billing", ("I never got an invoice", "the invoice is missing", "my accountant asks for the invoice"),
          "I have sent the invoice to your email address", 1),
    Issue("Billing", ("my voucher was ignored", "the discount code did not work", "I paid full price despite a code"),
          "I have credited the discount to your next bill", 4),
    Issue("Billing", ("my card was declined", "the payment does not go through", "I cannot pay for my order"),
          "I have sent you a new payment link", 1),
    Issue("Billing", ("the invoice has the wrong company name", "our name is spelled wrong on the bill",
                      "the invoice must carry another company name"),
          "I have issued a corrected invoice", 2),
    Issue("Returns", ("I want to send my order back", "how can I return this", "it is not what I hoped for"),
          "I have emailed you a prepaid return label", 1),
    Issue("Returns", ("where is my refund", "I returned it and got no money back", "the refund has not come"),
          "I have released the refund", 5),
    Issue("Returns", ("the size is wrong", "it does not fit, I need a larger one", "I would like to swap the size"),
          "I have reserved the other size for you", 3),
    Issue("Returns", ("you sent me the wrong item", "this is not what I ordered", "the box held somebody else's order"),
          "a courier will collect it and bring the right one", 4),
    Issue("Account", ("I forgot my password", "I cannot log in", "the login page refuses my password"),
          "I have sent you a link to set a new password", 1),
    Issue("Account", ("I want to close my account", "please delete my data", "remove my profile, please"),
          "I have scheduled the deletion of your account", 7),
    Issue("Account", ("my email address has changed", "I have a new email address", "you use my old email address"),
          "I have updated the email address after your confirmation", 1),
    Issue("Account", ("I think someone used my account", "there are orders that I did not make",
                      "a stranger has been in my account"),
          "I have locked the account and signed out every device", 2),
    Issue("Technical", ("the app closes by itself", "your app crashes on my phone", "the app stops when I open it"),
          "I have passed the crash report to our developers", 6),
    Issue("Technical", ("it will not connect to the wireless network", "it never finds my network",
                        "the connection to my router fails"),
          "I have sent you the steps for a network reset", 1),
    Issue("Technical", ("the battery is empty after an hour", "it does not hold its charge", "I charge it all day"),
          "I have ordered a new battery for you", 6),
    Issue("Technical", ("the screen stays black", "nothing shows on the display", "it starts but the screen is dark"),
          "I have opened a repair under warranty", 8),
    Issue("Order", ("I want to cancel my order", "please stop my order", "I ordered by mistake"),
          "I have canceled the order before dispatch", 1),
    Issue("Order", ("I ordered two but need only one", "please change the quantity", "one piece is too many"),
          "I have changed the quantity to one", 1),
    Issue("Order", ("when is it back in stock", "the item is sold out", "I cannot order it because it is out of stock"),
          "I have put you on the list for the next stock", 9),
)  # fmt: skip
