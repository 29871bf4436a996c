"""Small motions about rest: normal modes of molecules, their ideal gases, phonons of crystals."""

from jphys.harmonic.crystals import Phonons, phonons
from jphys.harmonic.gases import Thermochemistry, ideal_gas, thermochemistry
from jphys.harmonic.molecules import Vibrations, frequencies, normal_modes, vibrations

__all__ = [
    "Phonons",
    "Thermochemistry",
    "Vibrations",
    "frequencies",
    "ideal_gas",
    "normal_modes",
    "phonons",
    "thermochemistry",
    "vibrations",
]
