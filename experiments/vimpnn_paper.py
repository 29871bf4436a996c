"""What the paper has in its tables 1 to 5."""

# Of the paper, "mean (std over test points)" without the std: MAE, RE, DSC in its own unit of energy.
PAPER: dict[str, dict[str, tuple[float | None, ...]]] = {
    "table1": {
        "no bond type": (0.220, 0.0027, None),
        "MPNN": (0.091, 0.0012, None),
        "a.ii": (0.067, 0.0009, None),
        "# atoms": (0.171, 0.0021, None),
        "# orbitals": (0.195, 0.0025, None),
        "scale": (0.119, 0.0015, None),
    },
    "table2-augmented-qm9": {"MPNN": (0.091, 0.0012, 0.039), "VIMPNN": (0.065, 0.0008, 0.033)},
    "table2-infinite-crystal": {"MPNN": (0.034, 0.0012, 0.201), "VIMPNN": (0.034, 0.0015, 0.048)},
    "table2-crystal-growth-stable": {"MPNN": (2.906, 0.0047, None), "VIMPNN": (0.513, 0.0016, None)},
    "table2-crystal-growth-unstable": {"MPNN": (3.447, 0.0058, 0.497), "VIMPNN": (2.387, 0.0042, 0.162)},
    "table3": {
        "a.i": (0.1214, 0.0016, None),
        "a.ii": (0.0670, 0.0009, None),
        "b.i": (0.1816, 0.0023, None),
        "b.ii": (0.1079, 0.0012, None),
        "c": (0.1144, 0.0015, None),
    },
    "table4": {
        "a.ii + atoms": (0.0690, 0.0009, None),
        "a.ii + orbitals": (0.0796, 0.0009, None),
        "a.ii + scale": (0.0742, 0.0010, None),
    },
    "table5": {
        "VIMPNN, T = 1": (0.1860, 0.0026, None),
        "VIMPNN, T = 3": (0.0646, 0.0008, None),
        "VIMPNN, T = 8": (0.0944, 0.0013, None),
        "MPNN, T = 1": (0.1737, 0.0024, None),
        "MPNN, T = 3": (0.0909, 0.0012, None),
        "MPNN, T = 8": (0.5550, 0.0077, None),
    },
}
