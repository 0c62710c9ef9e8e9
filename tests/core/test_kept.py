"""What is kept of a pure function: asked about the same objects it is not called again."""

from bot.core.kept import kept


def test_it_is_called_once_for_the_same_objects_and_again_for_equal_ones() -> None:
    called: list[tuple[int, ...]] = []

    @kept(most=4)
    def total(numbers: tuple[int, ...]) -> int:
        called.append(numbers)
        return sum(numbers)

    ones = [1, 2]
    one, equal = tuple(ones), tuple(ones)
    assert [total(one), total(one), total(equal)] == [3, 3, 3]
    assert len(called) == 2


def test_another_object_never_takes_the_place_of_one_that_was_asked_about() -> None:
    @kept(most=8)
    def first(numbers: tuple[int, ...]) -> int:
        return numbers[0]

    # Each tuple dies as soon as it was asked about, if nothing holds it: so do its successors,
    # which are then made where it was, under its very identity.
    assert [first((number, 0)) for number in range(100)] == list(range(100))


def test_no_more_results_are_held_than_asked_for() -> None:
    called: list[int] = []

    @kept(most=2)
    def doubled(number: int) -> int:
        called.append(number)
        return 2 * number

    for number in (1, 2, 3, 1, 3):
        assert doubled(number) == 2 * number
    assert called == [1, 2, 3, 1]
