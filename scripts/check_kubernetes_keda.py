"""Writes the JSON schema of KEDA's ScaledObject into the given directory.

The package has Python classes generated from KEDA's own definition. Loading them takes seconds, so this runs once, when the
tools are installed.
"""

import json
import sys
from pathlib import Path

import cloudcoil.pydantic

# Set before the classes are created, because they inherit it: an unknown field is a mistake.
cloudcoil.pydantic.BaseModel.model_config["extra"] = "forbid"

from cloudcoil.models.keda.v1alpha1 import ScaledObject  # noqa: E402

schema = ScaledObject.model_json_schema(by_alias=True)
# The package's KEDA is 2.16, the newest one available for every Python; 2.17 added this field, with these four values.
schema["$defs"]["Fallback"]["properties"]["behavior"] = {
    "enum": ["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]
}
Path(sys.argv[1], "scaledobject.json").write_text(json.dumps(schema))
