"""Masks that are no skips: outputs that were computed, and multiplied by zero afterwards."""

from collections import Counter as Tally
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from dynbench.counter.dispatch import Counter

MULTIPLIES = frozenset({"mul", "mul_", "multiply", "multiply_"})
FILLS = frozenset({"masked_fill", "masked_fill_"})


class MaskWatch(Counter):  # type: ignore[no-untyped-call]
    """Counts, and follows what modules computed to where it is multiplied by a mask.

    `zeroed`: by module, the sum over its masks of the fraction that is zero; `masks`: how many there were.
    """

    def __init__(self, modules: dict[nn.Module, str]) -> None:
        super().__init__(modules)
        self.zeroed: dict[str, float] = defaultdict(float)
        self.masks: Tally[str] = Tally()
        self._made_by: dict[int, str] = {}
        self._kept: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = self.work.macs
        name = getattr(getattr(func, "overloadpacket", None), "__name__", "")
        if name in MULTIPLIES | FILLS:
            self._look_at_mask(args)
        out = super().__torch_dispatch__(func, types, args, kwargs)
        if isinstance(out, Tensor):
            self._follow(out, args, self.work.macs > before)
        return out

    def _follow(self, out: Tensor, args: Any, computed: bool) -> None:
        source = next((self._of(one) for one in args if isinstance(one, Tensor) and self._of(one)), None)
        maker = self._running[-1] if computed else source
        if maker:
            self._made_by[out.untyped_storage().data_ptr()] = maker
            self._kept.append(out)  # its address is not given to another tensor meanwhile

    def _of(self, tensor: Tensor) -> str | None:
        return self._made_by.get(tensor.untyped_storage().data_ptr())

    def _look_at_mask(self, args: Any) -> None:
        for features, mask in ((args[0], args[1]), (args[1], args[0])):
            if not (isinstance(features, Tensor) and isinstance(mask, Tensor)):
                continue
            maker = self._of(features)
            if maker is None or (self._of(mask) is not None and mask.numel() >= features.numel()):
                continue
            with torch.utils._python_dispatch._disable_current_modes():
                gone = mask if mask.dtype == torch.bool and args[0] is features and len(args) > 2 else mask == 0  # noqa: PLR2004
                self.zeroed[maker] += float(gone.double().mean())
            self.masks[maker] += 1
            return
