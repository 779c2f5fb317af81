"""Look after data: check it, see what a mixture would draw, look at samples, keep decoded copies.

A data folder holds datasets in their official download layouts, folders with a manifest, or both.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Annotated

import tyro

from stablemtl.commands.data_check import CheckConfig
from stablemtl.commands.data_describe import DescribeConfig
from stablemtl.commands.data_index import IndexConfig
from stablemtl.commands.data_prepare import PrepareConfig
from stablemtl.commands.data_show import ShowConfig

if TYPE_CHECKING:
    Config = CheckConfig | DescribeConfig | IndexConfig | PrepareConfig | ShowConfig
else:
    _COMMANDS = {
        "check": (CheckConfig, "find what is wrong with the data before training does"),
        "describe": (DescribeConfig, "which dataset trains which task, and how often"),
        "show": (ShowConfig, "frames and labels of one sample on one sheet"),
        "prepare": (PrepareConfig, "keep decoded samples of training size, which load many times faster"),
        "index": (IndexConfig, "list the Hypersim frames whose depth has no holes"),
    }
    Config = None
    for _name, (_config, _help) in _COMMANDS.items():
        _option = Annotated[_config, tyro.conf.subcommand(_name, description=_help)]
        Config = _option if Config is None else Config | _option


def run(config: Config) -> int:
    """Hand over to the module of the command, which lies beside this one."""
    module = importlib.import_module(type(config).__module__)
    return int(module.run(config))
