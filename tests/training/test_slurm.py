from __future__ import annotations

import os
from pathlib import Path

import pytest

from cnnctl import runs
from cnnctl.errors import RunError, UsageError
from cnnctl.training import slurm

CONFIG = {"seed": 0, "model": {"name": "lenet5"}}
SRUN = {
    "SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_TASKS_PER_NODE": "4(x2)", "SLURM_NTASKS": "8",
    "SLURM_STEP_NODELIST": "gpu[07-08]", "SLURM_PROCID": "5", "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
}  # fmt: skip
BATCH = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NAME": "train.sh"}
ARRAY = {**BATCH, "SLURM_ARRAY_JOB_ID": "4700", "SLURM_ARRAY_TASK_ID": "3"}


@pytest.fixture(autouse=True)
def nowhere(monkeypatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SLURM_", "MASTER_", "LOCAL_", "NODE_RANK")):
            monkeypatch.delenv(name)


@pytest.fixture
def within(monkeypatch):
    def set_all(variables: dict[str, str], **more: str) -> None:
        for name, value in (variables | more).items():
            monkeypatch.setenv(name, value)

    return set_all


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        ("gpu1", ["gpu1"]),
        ("gpu1,login", ["gpu1", "login"]),
        ("node[03-05,7]", ["node03", "node04", "node05", "node7"]),
        ("gpu[9-11],cpu[1,3],login", ["gpu9", "gpu10", "gpu11", "cpu1", "cpu3", "login"]),
        ("r[1-2]n[08-09]-ib", ["r1n08-ib", "r1n09-ib", "r2n08-ib", "r2n09-ib"]),
        ("a-b-[098-100].site.org", ["a-b-098.site.org", "a-b-099.site.org", "a-b-100.site.org"]),
    ],
)
def test_the_short_form_of_host_names_is_written_out(listed, names) -> None:
    assert list(slurm.hosts(listed)) == names


def test_a_process_of_srun_knows_its_place(within) -> None:
    within(SRUN)
    assert slurm.place() == {
        "RANK": "5", "LOCAL_RANK": "1", "NODE_RANK": "1", "WORLD_SIZE": "8",
        "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "gpu07", "MASTER_PORT": "19711",
    }  # fmt: skip


def test_processes_that_go_round_the_nodes_are_counted_node_by_node(within) -> None:
    within(SRUN, SLURM_PROCID="3", SLURM_NODEID="1", SLURM_LOCALID="1")  # cyclic: 0 2 4 6 | 1 3 5 7
    assert slurm.place()["RANK"] == "5"


def test_an_address_and_a_port_that_are_given_stay(within) -> None:
    within(SRUN, MASTER_ADDR="10.0.0.1", MASTER_PORT="29500")
    place = slurm.place()
    assert (place["MASTER_ADDR"], place["MASTER_PORT"]) == ("10.0.0.1", "29500")


def test_steps_side_by_side_meet_at_ports_of_their_own(within) -> None:
    ports = []
    for job in range(100, 110):
        for step in range(10):
            within(SRUN, SLURM_JOB_ID=str(job), SLURM_STEP_ID=str(step))
            ports.append(int(slurm.place()["MASTER_PORT"]))
    assert len(set(ports)) == 100
    assert all(1024 < port < 32768 for port in ports)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {**BATCH, "SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"},
        {**SRUN, "SLURM_STEP_NUM_TASKS": "1"},
    ],
    ids=["no Slurm", "a batch script without srun", "srun with one process"],
)
def test_one_process_has_no_place(within, variables) -> None:
    within(variables)
    assert slurm.place() == {}


@pytest.mark.parametrize(
    "uneven", [{"SLURM_STEP_NUM_TASKS": "7"}, {"SLURM_STEP_TASKS_PER_NODE": "5,3"}]
)
def test_nodes_with_different_numbers_of_processes_are_refused(within, uneven) -> None:
    within(SRUN, **uneven)
    with pytest.raises(UsageError, match=r"srun started \d processes on 2 nodes, not as many") as e:
        slurm.place()
    assert e.value.hint == "srun --ntasks-per-node=…, one for each device"


@pytest.mark.parametrize(
    ("variables", "number"),
    [
        ({}, None),
        (BATCH, "4711"),
        (ARRAY, "4700_3"),
        ({**BATCH, "SLURM_JOB_NAME": "bash"}, None),
        ({**BATCH, "SLURM_JOB_NAME": "interactive"}, None),
        ({"SLURM_JOB_ID": "4711"}, "4711"),
    ],
)
def test_a_batch_job_has_a_number(within, variables, number) -> None:
    within(variables)
    assert slurm.job() == number


def make(outputs: Path, config: dict = CONFIG) -> Path:
    run = runs.create(str(outputs), "train", "net")
    runs.write_config(run, config)
    return run


def test_a_job_that_was_put_back_finds_its_run_again(within, tmp_path) -> None:
    within(BATCH)
    run = make(tmp_path)
    slurm.remember(run, CONFIG)
    within(BATCH, SLURM_RESTART_COUNT="1")
    assert slurm.earlier(tmp_path / "train", CONFIG) == run
    assert runs.listed(str(tmp_path)) == [run]


def test_each_configuration_of_a_job_finds_its_own_run(within, tmp_path) -> None:
    within(ARRAY)
    configs = [CONFIG | {"seed": seed} for seed in range(3)]
    made = [make(tmp_path, config) for config in configs]
    for run, config in zip(made, configs, strict=True):
        slurm.remember(run, config)
    within(ARRAY, SLURM_RESTART_COUNT="2")
    assert [slurm.earlier(tmp_path / "train", config) for config in configs] == made
    assert slurm.earlier(tmp_path / "train", CONFIG | {"seed": 3}) is None


def test_the_latest_of_two_equal_runs_is_found(within, tmp_path) -> None:
    within(BATCH, SLURM_RESTART_COUNT="1")
    made = [make(tmp_path), make(tmp_path)]
    for run in made:
        slurm.remember(run, CONFIG)
    assert slurm.earlier(tmp_path / "train", CONFIG) == made[1]


@pytest.mark.parametrize(
    "later",
    [
        {},
        {"SLURM_RESTART_COUNT": "0"},
        {"SLURM_RESTART_COUNT": "1", "SLURM_JOB_ID": "4712"},
        {"SLURM_RESTART_COUNT": "1", "SLURM_JOB_NAME": "bash"},
    ],
    ids=["first start", "first start, said", "another job", "by hand"],
)
def test_another_start_makes_a_new_run(within, tmp_path, later) -> None:
    within(BATCH)
    slurm.remember(make(tmp_path), CONFIG)
    within(later)
    assert slurm.earlier(tmp_path / "train", CONFIG) is None


def test_a_run_that_was_deleted_is_not_found(within, tmp_path) -> None:
    within(BATCH, SLURM_RESTART_COUNT="1")
    run = make(tmp_path)
    slurm.remember(run, CONFIG)
    (run / runs.CONFIG).unlink()
    assert slurm.earlier(tmp_path / "train", CONFIG) is None
    assert slurm.earlier(tmp_path / "elsewhere", CONFIG) is None


def test_notes_that_cannot_be_read_are_no_reason_for_a_new_run(within, tmp_path) -> None:
    within(BATCH, SLURM_RESTART_COUNT="1")
    slurm.remember(make(tmp_path), CONFIG)
    (note,) = (tmp_path / "train").glob(".slurm_*")
    note.unlink()
    note.mkdir()
    with pytest.raises(RunError, match=r"cannot read the notes in .*: Is a directory"):
        slurm.earlier(tmp_path / "train", CONFIG)


def test_nothing_is_noted_outside_of_slurm(tmp_path) -> None:
    slurm.remember(make(tmp_path), CONFIG)
    assert list((tmp_path / "train").glob(".slurm*")) == []
