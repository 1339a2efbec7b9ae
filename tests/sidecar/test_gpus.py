"""GPUs through a fake of NVIDIA's bindings, and through a fake of its program."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import anyio
import pytest

from aiserv.sidecar.gpus import Gpus
from aiserv.sidecar.sampler import Row, SourceError
from tests.waiting import SOON

H200: Row = {
    "index": 0,
    "name": "NVIDIA H200",
    "utilization_percent": 87,
    "memory_used_mib": 100_000,
    "memory_total_mib": 143_771,
    "temperature_c": 61,
    "power_w": 512.3,
}
UNKNOWN: Row = dict.fromkeys(H200)


class NVMLError(Exception):
    pass


class FakeNvml(ModuleType):
    """NVML with so many H200; `refused` names the functions that raise."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, count: int = 1, *, refused: tuple[str, ...] = ()) -> None:
        super().__init__("pynvml")
        self.count = count
        self.refused = refused
        self.inits = 0

    def __getattribute__(self, name: str) -> object:
        if name.startswith("nvml") and name in super().__getattribute__("refused"):
            raise NVMLError("Not Supported")
        return super().__getattribute__(name)

    def nvmlInit(self) -> None:  # noqa: N802 - NVIDIA's names
        self.inits += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.inits -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return self.count

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetName(self, _gpu: int) -> bytes:  # noqa: N802
        return b"NVIDIA H200"

    def nvmlDeviceGetUtilizationRates(self, _gpu: int) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(gpu=87, memory=40)

    def nvmlDeviceGetMemoryInfo(self, _gpu: int) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(used=100_000 * 1024**2 + 1, total=143_771 * 1024**2)

    def nvmlDeviceGetTemperature(self, _gpu: int, _sensor: int) -> int:  # noqa: N802
        return 61

    def nvmlDeviceGetPowerUsage(self, _gpu: int) -> int:  # noqa: N802
        return 512_345


def no_nvml() -> ModuleType:
    raise ImportError


def gpus(nvml: ModuleType, nvidia_smi: str = "/nonexistent/nvidia-smi") -> Gpus:
    return Gpus(lambda: nvml, nvidia_smi)


@pytest.fixture
def nvidia_smi(tmp_path: Path) -> Callable[[str], str]:
    """Makes a program that does what the shell script says."""

    def make(script: str) -> str:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return str(program)

    return make


async def test_nvml_tells_of_every_gpu() -> None:
    rows = await gpus(FakeNvml(count=2)).sample()

    assert rows == [H200, {**H200, "index": 1}]


async def test_nvml_is_initialised_once() -> None:
    nvml = FakeNvml()
    source = gpus(nvml)

    await source.sample()
    await source.sample()

    assert nvml.inits == 1


async def test_what_a_gpu_does_not_support_is_null() -> None:
    rows = await gpus(FakeNvml(refused=("nvmlDeviceGetUtilizationRates", "nvmlDeviceGetPowerUsage"))).sample()

    assert rows == [{**H200, "utilization_percent": None, "power_w": None}]


async def test_a_lost_gpu_is_shown_with_nothing_but_its_index() -> None:
    lost = tuple(name for name in dir(FakeNvml) if name.startswith("nvmlDevice") and name != "nvmlDeviceGetCount")

    rows = await gpus(FakeNvml(refused=lost)).sample()

    assert rows == [{**UNKNOWN, "index": 0}]


async def test_nvml_is_begun_anew_after_it_failed(nvidia_smi: Callable[[str], str]) -> None:
    nvml = FakeNvml()
    source = gpus(nvml)
    await source.sample()
    nvml.refused = ("nvmlDeviceGetCount",)
    with pytest.raises(SourceError):
        await source.sample()
    nvml.refused = ()

    rows = await source.sample()

    assert rows == [H200]
    assert nvml.inits == 1


async def test_without_the_bindings_nvidia_smi_is_asked(nvidia_smi: Callable[[str], str]) -> None:
    program = nvidia_smi("""echo '0, NVIDIA H200, 87, 100000, 143771, 61, 512.34'
                            echo '1, NVIDIA H200, [N/A], 100000, 143771, N/A, [Not Supported]'""")

    rows = await Gpus(no_nvml, program).sample()

    less = {"index": 1, "utilization_percent": None, "temperature_c": None, "power_w": None}
    assert rows == [H200, {**H200, **less}]


async def test_without_a_driver_nvidia_smi_is_asked(nvidia_smi: Callable[[str], str]) -> None:
    program = nvidia_smi("echo '0, NVIDIA H200, 87, 100000, 143771, 61, 512.34'")

    rows = await gpus(FakeNvml(refused=("nvmlInit",)), program).sample()

    assert rows == [H200]


async def test_nvidia_smi_is_asked_for_the_fields_of_a_row(nvidia_smi: Callable[[str], str], tmp_path: Path) -> None:
    program = nvidia_smi(f'echo "$@" > {tmp_path}/asked')

    await Gpus(no_nvml, program).sample()

    fields = "index,name,utilization.gpu,memory.used,memory.total,temperature.gpu,power.draw"
    assert (tmp_path / "asked").read_text() == f"--query-gpu={fields} --format=csv,noheader,nounits\n"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'No devices were found'", "nvidia-smi said what was not understood"),
        ("echo 'driver/library version mismatch' >&2; exit 18", "nvidia-smi ended with 18"),
    ],
)
async def test_a_failure_says_what_is_wrong_with_either_way(
    nvidia_smi: Callable[[str], str], script: str, said: str
) -> None:
    with pytest.raises(SourceError) as raised:
        await Gpus(no_nvml, nvidia_smi(script)).sample()

    assert str(raised.value) == f"NVML: nvidia-ml-py is not installed; {said}"


async def test_a_machine_without_gpus_says_so() -> None:
    with pytest.raises(SourceError) as raised:
        await gpus(FakeNvml(refused=("nvmlInit",))).sample()

    assert str(raised.value) == "NVML: Not Supported; nvidia-smi cannot be run"


async def test_a_hanging_nvidia_smi_is_ended(nvidia_smi: Callable[[str], str]) -> None:
    source = Gpus(no_nvml, nvidia_smi("exec sleep 3600"))

    with anyio.fail_after(SOON):
        with anyio.move_on_after(0.1) as scope:
            await source.sample()

    assert scope.cancelled_caught
