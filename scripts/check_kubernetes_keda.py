"""Writes the JSON schema of KEDA's ScaledObject into the directory that is named.

The package has it as Python classes, generated from KEDA's own definition. Loading them takes seconds, so it is done once,
when the tools are installed.
"""

import json
import sys
from pathlib import Path

import cloudcoil.pydantic

# Before the classes are made, because they inherit it: what KEDA does not know is a mistake.
cloudcoil.pydantic.BaseModel.model_config["extra"] = "forbid"

from cloudcoil.models.keda.v1alpha1 import ScaledObject  # noqa: E402

schema = ScaledObject.model_json_schema(by_alias=True)
# The package's KEDA is 2.16, the newest that there is for every Python; this came with 2.17, with these four values.
schema["$defs"]["Fallback"]["properties"]["behavior"] = {
    "enum": ["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]
}
Path(sys.argv[1], "scaledobject.json").write_text(json.dumps(schema))
