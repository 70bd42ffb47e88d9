"""Typed all the way: enums, nested models, dates and money in; a model and a file out.

Arguments are checked before they get here, and arrive as these types. The return annotation is the output
schema; a `File` in the answer becomes a file for the caller.
"""

import csv
import io
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum

from haystack import Pipeline, component
from pydantic import BaseModel, Field

from mcp_server import File
from mcp_server import PipelineWrapper as BasePipelineWrapper


class Shipping(StrEnum):
    STANDARD = "standard"
    EXPRESS = "express"


class Address(BaseModel):
    street: str
    city: str
    country: str = Field("DE", pattern="^[A-Z]{2}$", description="Two letters, as in ISO 3166.")


class Item(BaseModel):
    article: str
    price: Decimal = Field(ge=0, description="Of one piece, in euros.")
    quantity: int = Field(1, ge=1)


class Order(BaseModel):
    customer: str
    address: Address
    items: list[Item] = Field(min_length=1)
    ordered: date


class Invoice(BaseModel):
    customer: str
    shipping: Shipping
    total: Decimal = Field(description="In euros, shipping included.")
    due: date
    note: str | None = None
    table: File


@component
class Checkout:
    """Adds up an order."""

    @component.output_types(invoice=Invoice)
    def run(self, order: Order, shipping: Shipping, note: File | None = None) -> dict[str, Invoice]:
        fee = Decimal("9.90" if shipping is Shipping.EXPRESS else "4.90")
        return {
            "invoice": Invoice(
                customer=order.customer,
                shipping=shipping,
                total=sum((item.price * item.quantity for item in order.items), fee),
                due=order.ordered + timedelta(days=14),
                note=note.text if note else None,
                table=File("invoice.csv", table(order).encode(), "text/csv"),
            )
        }


class PipelineWrapper(BasePipelineWrapper):
    title = "Write an invoice"
    read_only = True
    idempotent = True
    open_world = False

    def setup(self) -> None:
        self.pipeline = Pipeline()
        self.pipeline.add_component("checkout", Checkout())

    def run_api(
        self, order: Order, shipping: Shipping = Shipping.STANDARD, note: File | None = None
    ) -> Invoice:
        """Write the invoice for an order, with its items as a CSV file.

        Args:
            order: Who ordered what, and when.
            shipping: How it is sent; express costs more.
            note: A text file to print on the invoice.
        """
        data = {"order": order, "shipping": shipping, "note": note}
        return self.pipeline.run({"checkout": data})["checkout"]["invoice"]


def table(order: Order) -> str:
    text = io.StringIO()
    rows = [[item.article, item.quantity, item.price, item.price * item.quantity] for item in order.items]
    csv.writer(text, lineterminator="\n").writerows([["article", "quantity", "price", "sum"], *rows])
    return text.getvalue()
