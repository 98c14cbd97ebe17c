"""The one error type that a user is meant to see. Every package may import this module; it imports nothing."""


class UserError(Exception):
    """Something the user can mend: a wrong argument, a missing or broken file, an unknown name.

    The message is one line that names the file or value, says what would be right and, where one helps, the next
    command. Scripts print it and exit with code 2; anything else that escapes is a bug of ours and keeps its traceback.
    What it quotes may come from a stranger's file: whatever is not printable, and would be a command to a terminal, is
    shown as Python writes it ("\\x1b").
    """

    def __init__(self, message: str) -> None:
        line = " ".join(message.split())
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line))
