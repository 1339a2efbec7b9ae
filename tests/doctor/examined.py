"""A look at an installation, for the finding of one topic."""

from aiserv.doctor import examine
from aiserv.queries.installation import Finding
from aiserv.settings import Settings


async def found(conninfo: str, topic: str, **variables: str) -> Finding:
    """The one finding of this topic, with these variables set; what is not well has advice."""
    findings = await examine(Settings.load({}, DATABASE_URL=conninfo, **variables))
    (finding,) = [finding for finding in findings if finding.topic == topic]
    assert (finding.advice is None) == (finding.status == "ok")
    return finding
