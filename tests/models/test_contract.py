"""A model of one's own: registered once, it does all that the shipped ones do. Two that only tests know."""

import dataclasses

import jax
import jax.numpy as jnp
import jax_md
import numpy as np
import pytest
from ase.build import bulk, molecule
from toy_models import ToyAngles, ToyVectors

import jphys
from jphys.data.qm9 import load_small
from jphys.data.structures import take
from jphys.graph import from_ase
from jphys.losses import PHYSICS
from jphys.models import CONFIGS, ModelConfig, make_potential, register
from jphys.models.potential import PROMISES, Potential

TOYS = {"vectors": ToyVectors(), "triplets": ToyAngles()}
LOSSES = PHYSICS.weighted(mask=0.0)


@pytest.fixture(scope="module", params=TOYS)
def trained(request, tmp_path_factory):
    """A toy after one epoch on 60 molecules: config, run, and the folder of the run."""
    folder = tmp_path_factory.mktemp(request.param)
    config = jphys.TrainConfig(epochs=1, batch_size=16, model=TOYS[request.param], losses=LOSSES)
    done = jphys.train(config, take(load_small(), np.arange(20, 80)), folder=folder)
    assert done.complete
    return config, done.run, folder


def test_it_trains_and_loads(trained):
    config, run, folder = trained
    assert run.n_compilations == 1
    potential, params = jphys.load(folder)
    assert potential is make_potential(run.potential.config), "the config is the one of the run"
    assert dict(potential.config.reference_energies).keys() == {1, 6, 7, 8}
    assert type(potential.config) is type(config.model)
    ethanol = from_ase(molecule("CH3CH2OH"))
    assert np.isfinite(jax.jit(potential.energy)(params, ethanol)).all()
    assert np.isnan(jax.jit(potential.energy)(params, from_ase(molecule("SH2")))).all()


def test_it_relaxes_and_runs_in_jax_md(trained):
    potential, params = jphys.load(trained[2])
    found = jphys.relax(potential, params, [from_ase(molecule("H2O"))], fmax=0.05, max_steps=20)
    assert len(found.graphs) == 1 and np.isfinite(found.energy).all()
    crystal = bulk("C", cubic=True).repeat(2)
    crystal.rattle(0.05, seed=0)
    box = np.asarray(crystal.cell.array).T
    displacement, _ = jax_md.space.periodic_general(jnp.asarray(box), fractional_coordinates=False)
    neighbor_fn, energy_fn = jphys.energy_neighbor_list(
        potential, params, crystal.numbers, box, displacement_fn=displacement, fractional_coordinates=False
    )
    positions = crystal.positions.astype(np.float32)
    energy = energy_fn(positions, neighbor_fn.allocate(positions))
    graph = from_ase(crystal, cutoff=potential.cutoff)
    np.testing.assert_allclose(energy, jax.jit(potential.energy)(params, graph)[0], rtol=1e-4)


@dataclasses.dataclass(frozen=True)
class Plain:
    cutoff: float = 5.0


def test_what_cannot_be_registered():
    with pytest.raises(ValueError, match="must be a class derived from ModelConfig, got"):
        register(Plain, lambda config: config)  # pyright: ignore[reportArgumentType]

    class Bare(ModelConfig):
        size: int = 3

    with pytest.raises(ValueError, match="must be a frozen dataclass, got Bare"):
        register(Bare, lambda config: config)
    taken = dataclasses.make_dataclass("TransformerConfig", [], bases=(ModelConfig,), frozen=True)
    with pytest.raises(ValueError, match="must have a name that no other model has, got TransformerConfig"):
        register(taken, lambda config: config)
    with pytest.raises(ValueError, match=r"config must be one of .*ToyAngles, got ModelConfig"):
        make_potential(ModelConfig())


def test_a_cell_of_a_notebook_registers_again():
    before = dict(CONFIGS)
    again = dataclasses.make_dataclass("Again", [], bases=(ModelConfig,), frozen=True)
    other = dataclasses.make_dataclass("Again", [], bases=(ModelConfig,), frozen=True)
    try:
        for config in (again, other):
            register(config, lambda config: config)
        assert CONFIGS["Again"] is other
        with pytest.raises(ValueError, match="config must be one of"):
            make_potential(again())
    finally:
        CONFIGS.pop("Again", None)
    assert before == CONFIGS


def test_heads_and_promises_are_named():
    potential = make_potential(ToyVectors())
    with pytest.raises(ValueError, match="must have a head 'pair_parameters', it has none"):
        potential.head("pair_parameters")
    full = make_potential(jphys.TransformerConfig(channels=8, heads=2, terms=("angle",)))
    assert set(full.heads) == {"element_logits", "pair_parameters", "angle_parameters"}
    assert full.promises == PROMISES
    with pytest.raises(
        ValueError, match="must have a head 'torsion_parameters', it has angle_parameters, elem"
    ):
        full.head("torsion_parameters")
    token = make_potential(jphys.TransformerConfig(channels=8, heads=2, cls_token="full"))
    assert PROMISES - token.promises == {"additive"}
    with pytest.raises(ValueError, match=r"promises must be of .*, got stable"):
        Potential(
            full.config, 5.0, full.init, full.energy, full.atom_energies, promises=frozenset({"stable"})
        )
