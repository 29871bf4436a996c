# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Stretch a molecule
#
# VIMPNN predicts the energy of a molecule whose distances are all scaled by one factor. Here its curve is
# compared with GFN2-xTB, and the stable distance is found with `jax.grad`. Half a minute on two cores. To
# install jphys with the engine, clone the project and give the clone to pip; on Colab in a cell of its own
# before this one, with a `!` in front of each line:
#
# ```
# git clone <address of the project> jphys
# pip install "./jphys[engines]"
# ```
#
# `vimpnn-qm9` comes with the package. It knows neutral molecules of H, C, N, O and F with up to nine heavy
# atoms, scaled as a whole from 0.9 to 1.5. It was never shown anything else: forces on single atoms, torsions
# and reactions are outside.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jphys
from jphys.bonds import embed_smiles
from jphys.engines import make_engine
from jphys.graph import with_positions

potential, params = jphys.load("vimpnn-qm9")

# %% [markdown]
# ## A curve by the engine and by the model
#
# The molecule keeps its shape; its atoms move away from the centroid. Bonds stay what they are: the model
# sends its messages along them.

# %%
smiles = "CC(=O)OC"
species, positions, bonds = embed_smiles(smiles)
centred = jnp.asarray(positions - positions.mean(axis=0), jnp.float32)
graph = jphys.make_graph(species, np.asarray(centred), bonds=bonds)
reference = jphys.reference_energy(potential, species)


@jax.jit
def energy(scale):
    """Of the molecule with all distances times `scale`, eV; references of the elements left out."""
    return potential.energy(params, with_positions(graph, scale * centred))[0]


scales = np.linspace(0.9, 1.5, 25)
predicted = np.array([energy(s) for s in scales]) + reference
engine = make_engine("gfn2-xtb")
true = np.array([engine.energy(species, s * np.asarray(centred, float), None).energy for s in scales])
error = np.abs(predicted - true)
print(f"{smiles}: {len(species)} atoms, mean error {error.mean():.2f} eV of {true.max() - true.min():.1f} eV")

# %% [markdown]
# ## The stable distance
#
# The derivative of the curve is a gradient like any other; Newton's method on it takes a few steps.

# %%
slope, curvature = jax.jit(jax.grad(energy)), jax.jit(jax.grad(jax.grad(energy)))
stable = jnp.float32(1.03)
for _ in range(8):
    stable = stable - slope(stable) / curvature(stable)
by_engine = scales[np.argmin(true)]
i, j = bonds[:, 0], bonds[:, 1]
bond_length = float(jnp.linalg.norm(centred[i] - centred[j], axis=1).mean())
print(f"stable scale {float(stable):.3f}, slope there {float(slope(stable)):.1e} eV")
print(f"mean bond length there {float(stable) * bond_length:.3f} Å")
print(f"lowest of the engine's points at scale {by_engine:.3f}")

# %%
_, (left, right) = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
left.plot(scales, predicted - true.min(), label="VIMPNN")
left.plot(scales, true - true.min(), "o", ms=3, color="0.2", label="GFN2-xTB")
left.axvline(float(stable), color="0.6", lw=1, ls=":")
left.set(xlabel="scale", ylabel="energy (eV)", title=smiles)
left.legend(fontsize=8)
right.plot(scales, predicted - true, color="C3")
_ = right.set(xlabel="scale", ylabel="error (eV)")

# %% [markdown]
# ## Which atoms the energy comes from
#
# The energy is a sum over atoms; `node_contributions` is the share of each.

# %%
shares = np.asarray(jax.jit(potential.node_contributions)(params, graph))
for z in np.unique(species):
    print(f"{jphys.elements.SYMBOLS[z]:2s} {shares[species == z].mean():.3f} on average")
