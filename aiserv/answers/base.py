"""What all answers share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0)]


class Answer(BaseModel):
    """Every key is always there, unless it may be left out."""

    model_config = ConfigDict(extra="forbid", strict=True)
