"""Ways between structures: bands of images on minimum-energy paths, and the saddle points on them."""

from jphys.paths.bands import band_force, tangents
from jphys.paths.following import Saddles, saddles
from jphys.paths.interpolation import idpp, straight
from jphys.paths.nudging import Paths, neb

__all__ = ["Paths", "Saddles", "band_force", "idpp", "neb", "saddles", "straight", "tangents"]
