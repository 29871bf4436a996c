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
# # Simulate a molecule
#
# From a SMILES string to a relaxed structure, a trajectory at 300 K, and a gradient through a simulation,
# in about a minute on two cores. To install jphys, clone the project and give the clone to pip; on Colab in
# a cell of its own before this one, with a `!` in front of each line:
#
# ```
# git clone <address of the project> jphys
# pip install ./jphys
# ```
#
# `qm9-small`, the model used here, comes with the package. It knows neutral closed-shell molecules of
# H, C, N, O and F with at most seven heavy atoms, **near their stable structures**: vibrations and turns
# about single bonds are what it is good for. Bonds stretched beyond 0.3 Å are not right: no reactions.

# %%
import tempfile
import warnings
from pathlib import Path

import ase
import ase.io
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jax_md import simulate, space

import jphys
from jphys.bonds import embed_smiles
from jphys.evaluation import evaluate
from jphys.figures.molecules import Triple, draw_panel
from jphys.units import FEMTOSECOND, KELVIN

warnings.filterwarnings("ignore", message="Explicitly requested dtype float64")  # jax-md, in float32

potential, params = jphys.load("qm9-small")

# %% [markdown]
# ## Relax
#
# RDKit places the atoms and cleans up with its force field MMFF94. `jphys.relax` moves any number of such
# graphs to the minima of the learned surface, in one compiled loop.

# %%
smiles = "CCO"
species, positions, bonds = embed_smiles(smiles)
start = jphys.make_graph(species, positions)
found = jphys.relax(potential, params, [start], fmax=0.01)  # eV/Å
relaxed, minimum = found.graphs[0], found.energy[0]

before, _ = evaluate(potential, params, [start])
print(
    f"{found.status[0]} after {found.n_steps[0]} steps, {1000 * (before[0] - minimum):.0f} meV below RDKit's"
)
total = minimum + jphys.reference_energy(potential, species)
print(f"total energy {total:.2f} eV: B3LYP/6-31G(2df,p) with zero-point energy, as in QM9")


def draw(graphs, titles):
    """Structures side by side, each over the relaxed one in pale grey."""
    _, panels = plt.subplots(1, len(graphs), figsize=(2 * len(graphs), 1.9), layout="constrained")
    for axes, graph, title in zip(panels, graphs, titles):
        draw_panel(axes, Triple(relaxed, graph, graph), graph)
        axes.set_title(title, fontsize=9)


draw([start, relaxed], ["RDKit", "relaxed"])

# %% [markdown]
# ## Simulate
#
# Langevin dynamics at 300 K. Frames go to a file that ASE reads while the simulation runs; after a kill, the
# same call with `resume=True` goes on where it was.

# %%
folder = tempfile.TemporaryDirectory()  # put your own file elsewhere: this one goes away
trajectory = Path(folder.name) / "run.extxyz"
atoms = ase.Atoms(species, relaxed.nodes.positions)
run = jphys.simulate(
    potential,
    params,
    atoms,
    steps=4000,
    every=10,
    dynamics=jphys.Dynamics(ensemble="nvt_langevin", dt=0.5, temperature=300, friction=0.01),  # fs, K, 1/fs
    trajectory=trajectory,
    progress=False,
)
frames = ase.io.read(trajectory, ":")
print(f"{run.status}: {len(frames)} frames, {run.temperature[100:].mean():.0f} K on average after 0.5 ps")

# %% [markdown]
# Dashed is what equipartition gives: 3N·kT/2 of kinetic energy, and for harmonic vibrations (3N − 6)·kT/2 of
# potential energy above the minimum, where the run starts. A molecule this small fluctuates a lot.

# %%
kT, n = 300 * KELVIN, len(atoms)
_, (left, right) = plt.subplots(1, 2, figsize=(9, 2.6), layout="constrained")
left.plot(run.time / 1000, run.kinetic, lw=1, label="kinetic")
left.plot(run.time / 1000, run.potential - minimum, lw=1, label="potential, above the minimum")
left.axhline(3 * n * kT / 2, color="C0", ls="--", lw=1)
left.axhline((3 * n - 6) * kT / 2, color="C1", ls="--", lw=1)
left.set(xlabel="time (ps)", ylabel="energy (eV)")
left.legend(fontsize=8)
right.plot(run.time / 1000, run.temperature, lw=1, color="C3")
right.axhline(300, color="C3", ls="--", lw=1)
_ = right.set(xlabel="time (ps)", ylabel="temperature (K)")

# %% [markdown]
# The molecule on its way, over the relaxed structure:

# %%
shown = np.linspace(0, len(frames) - 1, 5).astype(int)
draw([jphys.graph.from_ase(frames[i]) for i in shown], [f"{run.time[i]:.0f} fs" for i in shown])

# %% [markdown]
# ## Your own loop, and a gradient through it
#
# `jphys.energy_fn` is an energy that integrators and minimisers of jax-md take unchanged;
# `jphys.energy_neighbor_list` is the same with a neighbour list, for clusters and crystals. The parameters
# are an argument, so that a whole simulation can be differentiated by them. Here it is the mean O–H distance
# over 10 fs, about one period of that vibration.

# %%
energy_fn = jphys.energy_fn(potential, params, species)
_, shift_fn = space.free()
init, step = simulate.nve(energy_fn, shift_fn, dt=0.5 * FEMTOSECOND)
oxygen, hydrogen = next((i, j) for i, j, _ in bonds if species[i] == 8 and species[j] == 1)
last = frames[-1]
R, momenta, mass = (
    jnp.asarray(x, jnp.float32) for x in (last.positions, last.get_momenta(), last.get_masses())
)


@jax.jit
@jax.value_and_grad
def mean_distance(params):
    def body(state, _):
        state = step(state, params=params)
        return state, jnp.linalg.norm(state.position[hydrogen] - state.position[oxygen])

    state = init(jax.random.key(0), R, kT, mass=mass, momenta=momenta, params=params)
    return jax.lax.scan(body, state, length=20)[1].mean()


distance, gradient = mean_distance(params)
norm = jnp.sqrt(sum(jnp.vdot(g, g) for g in jax.tree.leaves(gradient)))
print(f"mean O–H distance {distance:.4f} Å")

h = 1e-3  # a step of the parameters along the gradient changes the distance by h times its norm
ahead, back = (jax.tree.map(lambda p, g, s=s: p + s * g / norm, params, gradient) for s in (h, -h))
slope = (mean_distance(ahead)[0] - mean_distance(back)[0]) / (2 * h)
print(f"slope along its gradient: {norm:.3f} by autodiff, {slope:.3f} by differences")
