"""A supervisor that does what the first one orders."""

from dynbench.distributed.board import Board
from dynbench.distributed.seat import Seat
from dynbench.distributed.supervise import supervise
from dynbench.events import Observer


def follow(seat: Seat, meeting: str, board: Board) -> None:
    """Do one order after another, until there are no more."""
    number = 0
    while order := board.order(number):
        supervise(order, seat, meeting, board, Observer())
        number += 1
