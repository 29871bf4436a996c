"""What a surface must do before it is trusted as physics; each module judges any energy function."""

from jphys.reliability.masked_atom import Suggestion, suggest_elements

__all__ = ["Suggestion", "suggest_elements"]
