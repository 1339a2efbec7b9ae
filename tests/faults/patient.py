"""`aiserv` on a machine that may stand still: newcomers have half a minute to say what for before a server stops."""

from aiserv.cli import main
from aiserv.http import runner
from tests.waiting import SOON

if __name__ == "__main__":
    vars(runner)["GREETING_STEPS"] = int(SOON / runner.GREETING_STEP_SECONDS)
    main()
