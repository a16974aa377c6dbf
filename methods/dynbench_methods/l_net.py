"""L-Net: layer skipping alone (Xia et al., arXiv 2007.15151, section 3.1)."""

from pydantic import model_validator

from dynbench_methods.lc_net import GateConfig, LCNet


class LNetConfig(GateConfig):
    @model_validator(mode="after")
    def _layer_gates_only(self) -> "LNetConfig":
        if self.l1_channel or self.channel_group > 1:
            raise ValueError("l_net has no channel gates; use l1_layer")
        return self


class LNet(LCNet):
    """A layer gate at every block; S_L = 0 skips the block's branch for that image."""

    name = "l_net"
    Config = LNetConfig
    channel_gates = False
