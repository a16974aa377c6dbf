"""C-Net: channel skipping alone (Xia et al., arXiv 2007.15151, section 3.2)."""

from pydantic import model_validator

from dynbench_methods.lc_net import GateConfig, LCNet


class CNetConfig(GateConfig):
    @model_validator(mode="after")
    def _channel_gates_only(self) -> "CNetConfig":
        if self.l1_layer:
            raise ValueError("c_net has no layer gates; use l1_channel")
        return self


class CNet(LCNet):
    """A channel gate at every block; S_C = 0 removes that channel between the first two convolutions."""

    name = "c_net"
    Config = CNetConfig
    layer_gates = False
