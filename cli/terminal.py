"""What the commands print of others' data moves no cursor, hides no text and turns no line around.

Control characters, those that change the direction of writing, line and paragraph separators and invisible ones are
shown as the escapes that JSON has for them, so that JSON stays the same JSON.
"""

import click

NEW_LINE = "\n"


def echo(text: str, *, err: bool = False) -> None:
    click.echo(plain(text), err=err)


def plain(text: str) -> str:
    """Letters of every language, signs and spaces stay; so do line ends, which are ours where the text is ours."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one == NEW_LINE else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    """A character beyond U+FFFF as JSON writes it: in two halves. A single half is written as well."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[index]:02x}{units[index + 1]:02x}" for index in range(0, len(units), 2))
