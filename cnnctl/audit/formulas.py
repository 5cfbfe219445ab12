"""The language of `compute` in claims.yaml: exact arithmetic, lists, and calls of named functions.

    params(net('vgg_d'), kind='dense') / params(net('vgg_d'))
    [conv_out(32, 5), conv_out(32, 5), 6]

It is Python's syntax without Python's reach: no attributes, no names but those of the functions,
no loops. Numbers with a point are read as the decimals they are: 26.2 - 15.3 is 10.9.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

Functions = Mapping[str, Callable[..., Any]]
Table = Sequence[Sequence[int]]

OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Pow: operator.pow,
}  # fmt: skip
LARGEST_POWER = 64


class FormulaError(ValueError):
    """A formula that the language does not have."""


def evaluate(text: str, functions: Functions) -> Any:
    """What a formula comes to: int, Fraction, str, bool, a list of them, or a function's result.

    Raises FormulaError for all that is not of the language, and ZeroDivisionError.
    """
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError as wrong:
        raise FormulaError(f"'{text}' is no formula: {wrong.msg}") from wrong
    return _value(tree.body, functions)


def plain(value: int | Fraction) -> int | Fraction:
    """A whole number is an int."""
    return value if isinstance(value, int) or value.denominator != 1 else int(value)


def _value(node: ast.expr, functions: Functions) -> Any:
    match node:
        case ast.Constant(value=int() | float() | str() as value):
            return plain(Fraction(str(value))) if isinstance(value, float) else value
        case ast.List(elts=parts):
            return [_value(part, functions) for part in parts]
        case ast.UnaryOp(op=ast.USub(), operand=part):
            return -_number(part, functions)
        case ast.BinOp(left=left, op=sign, right=right):
            return plain(_operation(sign, _number(left, functions), _number(right, functions)))
        case ast.Subscript(value=part, slice=place):
            return _item(_value(part, functions), _value(place, functions))
        case ast.Call(func=ast.Name(id=name)) if name in functions:
            return _call(node, functions[name], functions)
    raise FormulaError(f"'{ast.unparse(node)}' is not of the language of formulas")


def _operation(sign: ast.operator, left: int | Fraction, right: int | Fraction) -> Any:
    if isinstance(sign, ast.Div):
        return Fraction(left) / right
    if isinstance(sign, ast.Pow) and not (isinstance(right, int) and 0 <= right <= LARGEST_POWER):
        raise FormulaError(f"a power must be a whole number of 0 to {LARGEST_POWER}, got {right}")
    if type(sign) not in OPERATORS:
        raise FormulaError(f"{type(sign).__name__} is not of the language of formulas")
    return OPERATORS[type(sign)](left, right)


def _number(node: ast.expr, functions: Functions) -> int | Fraction:
    value = _value(node, functions)
    if isinstance(value, bool) or not isinstance(value, (int, Fraction)):
        raise FormulaError(f"'{ast.unparse(node)}' must be a number")
    return value


def _item(values: Any, place: Any) -> Any:
    if not isinstance(values, list) or type(place) is not int or not 0 <= place < len(values):
        raise FormulaError(f"{values} has no item {place}")
    return values[place]


def _call(node: ast.Call, function: Callable[..., Any], functions: Functions) -> Any:
    given = {word.arg: word.value for word in node.keywords if word.arg is not None}
    if len(given) < len(node.keywords):
        raise FormulaError(f"'{ast.unparse(node)}' is not of the language of formulas")
    named = {name: _value(part, functions) for name, part in given.items()}
    return function(*(_value(part, functions) for part in node.args), **named)


def correlate(image: Table, kernel: Table) -> list[list[int]]:
    """What frameworks call a convolution: one channel, stride 1, no padding."""
    high, wide = len(kernel), len(kernel[0])
    return [
        [
            sum(kernel[i][j] * image[y + i][x + j] for i in range(high) for j in range(wide))
            for x in range(len(image[0]) - wide + 1)
        ]
        for y in range(len(image) - high + 1)
    ]


def max_pool(image: Table, side: int, stride: int) -> list[list[int]]:
    """The largest value of each window."""
    tops, lefts = (range(0, size - side + 1, stride) for size in (len(image), len(image[0])))
    return [
        [max(max(row[x : x + side]) for row in image[y : y + side]) for x in lefts] for y in tops
    ]


def kernel_sum(kernel: Table, divisor: int = 1) -> int | Fraction:
    """What a filter makes of a flat region of ones."""
    return plain(Fraction(sum(map(sum, kernel)), divisor))


def largest(**figures: int | Fraction) -> str:
    """The name of the largest figure."""
    return max(figures, key=figures.__getitem__)


def smallest(**figures: int | Fraction) -> str:
    """The name of the smallest figure."""
    return min(figures, key=figures.__getitem__)
