"""The lab's families, one file each: what is declared. How one trains is in the file of
the same name under `trainers/`.

A new family is those two files and a line here; lab/mapping.py makes its mapping.
"""

from __future__ import annotations

from autollm.core.errors import UnknownNameError
from autollm.lab.families.architecture import ARCHITECTURE
from autollm.lab.families.data_mixture import DATA_MIXTURE
from autollm.lab.families.optimizer import OPTIMIZER
from autollm.lab.families.pretraining import PRETRAINING
from autollm.lab.families.rl_tuning import RL_TUNING
from autollm.lab.spec import Family

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        PRETRAINING,
        OPTIMIZER,
        ARCHITECTURE,
        DATA_MIXTURE,
        RL_TUNING,
    )
}


def load_family(name: str) -> Family:
    """A family by name.

    Raises:
        UnknownNameError: no such family.
    """
    if name not in FAMILIES:
        raise UnknownNameError("lab family", name, FAMILIES)
    return FAMILIES[name]
