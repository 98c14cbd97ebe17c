"""Which devices a script works on."""

import torch

from errors import UserError


def choose_devices(name: str) -> list[torch.device]:
    """Devices to work on, one process each. UserError where this machine lacks one.

    auto: every visible GPU, else the CPU; cuda: every visible GPU; cuda:N: that one; cpu; cpu:N: N of them on the CPU.
    """
    gpus = torch.cuda.device_count()
    kind, _, index = name.partition(":")
    number = int(index) if index.isascii() and index.isdigit() else None
    if name == "cpu" or (name == "auto" and not gpus):
        return [torch.device("cpu")]
    if name in ("auto", "cuda") and gpus:
        return [torch.device("cuda", gpu) for gpu in range(gpus)]
    if kind == "cpu" and number:
        return [torch.device("cpu")] * number
    if kind == "cuda" and number is not None and number < gpus:
        return [torch.device("cuda", number)]
    known = ", ".join(["auto", "cpu", *(f"cuda:{gpu}" for gpu in range(gpus))])
    raise UserError(f"--device {name}: this machine has no such device; choose one of {known}")
