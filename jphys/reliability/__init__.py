"""What a surface must do before it is trusted as physics; each module judges any energy function."""

from jphys.lazy import attributes as _attributes
from jphys.reliability.masked_atom import Suggestion, suggest_elements

__all__ = ["Suggestion", "suggest_elements"]

__getattr__ = _attributes(__name__)
