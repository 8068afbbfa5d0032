"""The families of flows, in a file that does not need Zuko."""

from typing import Literal

ShallowFlowFamily = Literal["radial", "planar"]
FlowFamily = Literal["spline", ShallowFlowFamily]
