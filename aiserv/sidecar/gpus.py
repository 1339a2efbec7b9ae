"""The GPUs of this machine: through NVML, or through nvidia-smi where that cannot be used."""

import csv
import importlib
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from aiserv.sidecar.sampler import Row, SourceError

_Value = TypeVar("_Value")

MIB: Final = 1024 * 1024
# In the order of a row. https://docs.nvidia.com/deploy/nvidia-smi/ says what each one is.
QUERY: Final = "index,name,utilization.gpu,memory.used,memory.total,temperature.gpu,power.draw"


def load_nvml() -> ModuleType:
    """NVIDIA's bindings: the module `pynvml` of the distribution nvidia-ml-py. Raises ImportError without it."""
    return importlib.import_module("pynvml")


class Gpus:
    """Samples all GPUs: a value that one of them does not tell is None."""

    def __init__(self, load: Callable[[], ModuleType] = load_nvml, nvidia_smi: str = "nvidia-smi") -> None:
        self._load = load
        self._nvidia_smi = nvidia_smi
        self._nvml: ModuleType | None = None
        # A driver that hangs holds this one thread, not a new one for every sample.
        self._thread = anyio.CapacityLimiter(1)

    async def sample(self) -> list[Row]:
        """A row for each GPU: `index`, `name` and the numbers of the contract.

        Raises SourceError if neither way leads to them.
        """
        try:
            return await anyio.to_thread.run_sync(self._ask_nvml, limiter=self._thread, abandon_on_cancel=True)
        except SourceError as nvml:
            try:
                return await self._ask_nvidia_smi()
            except SourceError as nvidia_smi:
                raise SourceError(f"{nvml}; {nvidia_smi}") from None

    def _ask_nvml(self) -> list[Row]:
        try:
            nvml = self._load()
        except ImportError:
            raise SourceError("NVML: nvidia-ml-py is not installed") from None
        try:
            if self._nvml is None:
                nvml.nvmlInit()
                self._nvml = nvml
            return [_row(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
        except nvml.NVMLError as error:
            # The driver may have been replaced under our feet: begin anew next time.
            if self._nvml is not None:
                self._nvml = None
                with suppress(nvml.NVMLError):
                    nvml.nvmlShutdown()
            raise SourceError(f"NVML: {error}") from None

    async def _ask_nvidia_smi(self) -> list[Row]:
        command = [self._nvidia_smi, f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"]
        try:
            done = await anyio.run_process(command, check=False)
        except OSError:
            raise SourceError("nvidia-smi cannot be run") from None
        if done.returncode != 0:
            raise SourceError(f"nvidia-smi ended with {done.returncode}")
        lines = csv.reader(done.stdout.decode(errors="replace").splitlines(), skipinitialspace=True)
        try:
            return [_parsed(line) for line in lines if line]
        except ValueError:
            raise SourceError("nvidia-smi said what was not understood") from None


def _row(nvml: ModuleType, index: int) -> Row:
    def told(get: Callable[[], _Value]) -> _Value | None:
        try:
            return get()
        except nvml.NVMLError:  # not supported by this one, or it is lost
            return None

    gpu = told(lambda: nvml.nvmlDeviceGetHandleByIndex(index))
    name = told(lambda: nvml.nvmlDeviceGetName(gpu))
    utilization = told(lambda: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu)
    memory = told(lambda: nvml.nvmlDeviceGetMemoryInfo(gpu))
    power = told(lambda: nvml.nvmlDeviceGetPowerUsage(gpu))  # milliwatts
    return {
        "index": index,
        "name": name.decode(errors="replace") if isinstance(name, bytes) else name,
        "utilization_percent": utilization,
        "memory_used_mib": memory and memory.used // MIB,
        "memory_total_mib": memory and memory.total // MIB,
        "temperature_c": told(lambda: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU)),
        "power_w": None if power is None else round(power / 1000, 1),
    }


def _parsed(line: list[str]) -> Row:
    """The row of a line of nvidia-smi. Raises ValueError for a line of another form."""
    index, name, utilization, used, total, temperature, power = line
    return {
        "index": int(index),
        "name": name,
        "utilization_percent": _whole(utilization),
        "memory_used_mib": _whole(used),
        "memory_total_mib": _whole(total),
        "temperature_c": _whole(temperature),
        "power_w": None if (watts := _number(power)) is None else round(watts, 1),
    }


def _number(text: str) -> float | None:
    """The number; None for `[N/A]`, `[Not Supported]` and the like."""
    return None if text.startswith("[") or text == "N/A" else float(text)


def _whole(text: str) -> int | None:
    return None if (number := _number(text)) is None else round(number)
