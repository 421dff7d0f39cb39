"""The schema of Terraform's Google provider, read from a package of PyPI.

`terraform validate` and `terraform test` ask a provider for its schema: the names, types and nesting of all arguments.
The provider itself comes from Terraform's registry. If the registry is not reachable, the package
`cdktn-provider-google` has the same schema, because the package is generated from the provider. Each file of the
package describes one resource type, in JavaScript.

The package does not contain the provider's rules for values, such as allowed words. Only the provider checks these
rules.
"""

import re
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

_MEMBER = re.compile(r"package/lib/([a-z0-9-]+)/index\.js")
_CLASS = re.compile(r"^class (\w+) extends cdktn\.(\w+) \{$(.*?)^\}$", re.MULTILINE | re.DOTALL)
_PROPERTY = re.compile(
    r"^    // (\w+) - computed: (true|false), optional: (true|false), required: (true|false)$"
    r"(.*?)(?=^    // \w+ - computed|\Z)",
    re.MULTILINE | re.DOTALL,
)
_NESTED = re.compile(r'new (?!cdktn\.)(\w+?)(List|Map|OutputReference)\(this, "\w+"(?:, (true|false))?\)')
_HCL = re.compile(
    r'^ +(\w+): \{\s*value: [^\n]*\n\s*isBlock: (true|false),\s*type: "(\w+)",\s*storageClassType: "(\w+)"',
    re.MULTILINE,
)
_HCL_FUNCTION = re.compile(r"^function (\w+)ToHclTerraform\(struct\) \{$(.*?)^\}$", re.MULTILINE | re.DOTALL)
_HCL_METHOD = re.compile(r"^    synthesizeHclAttributes\(\) \{$(.*?)^    \}$", re.MULTILINE | re.DOTALL)
_GETTERS = (
    ("getNumberListAttribute", '["list","number"]'),
    ("getListAttribute", '["list","string"]'),
    ("getStringMapAttribute", '["map","string"]'),
    ("cdktn.StringMap(", '["map","string"]'),
    ("cdktn.BooleanMap(", '["map","bool"]'),
    ("cdktn.NumberMap(", '["map","number"]'),
    ("getBooleanAttribute", '"bool"'),
    ("getNumberAttribute", '"number"'),
    ("getStringAttribute", '"string"'),
)


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """An argument or an output that is not a block."""

    name: str
    type: str
    """The type in Terraform's JSON notation: `"string"`, `["list","string"]`."""
    is_required: bool
    is_optional: bool
    is_computed: bool


@dataclass(frozen=True, kw_only=True)
class NestedBlock:
    """A block within a resource or another block."""

    name: str
    block: "Block"
    mode: str
    """`list`, `set` or `single`."""
    is_required: bool
    is_single: bool


@dataclass(frozen=True)
class Block:
    """The content of a resource, a data source or a block."""

    attributes: list[Attribute] = field(default_factory=list)
    blocks: list[NestedBlock] = field(default_factory=list)


def read(package: Path, types: Iterable[str]) -> dict[str, Block]:
    """Return the schemas of resource types, and of data sources as `data.TYPE`. Unknown types are left out."""
    wanted = {_folder(name): name for name in types}
    with zipfile.ZipFile(package) as wheel:
        [archive] = [name for name in wheel.namelist() if name.endswith(".jsii.tgz")]
        with wheel.open(archive) as opened:
            return dict(_read_archive(opened, wanted))


def _folder(name: str) -> str:
    """Return the folder of a type: `firestore-index` for `google_firestore_index`."""
    if name.startswith("data."):
        return name.replace(".", "-").replace("_", "-")
    return name.removeprefix("google_").replace("_", "-")


def _read_archive(archive: IO[bytes], wanted: Mapping[str, str]) -> Iterable[tuple[str, Block]]:
    remaining = set(wanted)
    with tarfile.open(fileobj=archive, mode="r|gz") as package:
        for member in package:
            match = _MEMBER.fullmatch(member.name)
            if match is None or match[1] not in remaining:
                continue
            opened = package.extractfile(member)
            assert opened is not None
            remaining.discard(match[1])
            yield wanted[match[1]], parse(opened.read().decode())
            if not remaining:
                return


def parse(source: str) -> Block:
    """Return the schema that a file of the package describes."""
    bodies = {match[1]: match[3] for match in _CLASS.finditer(source)}
    [name] = [match[1] for match in _CLASS.finditer(source) if match[2] in ("TerraformResource", "TerraformDataSource")]
    forms = {match[1].lower(): _forms(match[2]) for match in _HCL_FUNCTION.finditer(source)}
    [method] = _HCL_METHOD.findall(bodies[name])
    return _block(bodies, forms, bodies[name], _forms(method))


def _forms(text: str) -> dict[str, tuple[bool, str]]:
    """Return, for each argument: whether it is a block, and how it is nested."""
    return {match[1]: (match[2] == "true", match[3]) for match in _HCL.finditer(text)}


def _block(
    bodies: Mapping[str, str],
    forms: Mapping[str, Mapping[str, tuple[bool, str]]],
    body: str,
    own: Mapping[str, tuple[bool, str]],
) -> Block:
    result = Block()
    for name, computed, optional, required, code in _PROPERTY.findall(body):
        is_block, mode = own.get(name, (False, "list"))
        nested = _NESTED.search(code)
        if nested is None:
            type_ = next((json for getter, json in _GETTERS if getter in code), '"dynamic"')
            if mode == "set":
                type_ = type_.replace('"list"', '"set"')
        else:
            content = _block(bodies, forms, bodies[f"{nested[1]}OutputReference"], forms.get(nested[1].lower(), {}))
            if is_block:
                result.blocks.append(
                    NestedBlock(
                        name=name,
                        block=content,
                        mode="single" if mode == "struct" else mode,
                        is_required=required == "true",
                        is_single=nested[2] == "OutputReference",
                    )
                )
                continue
            type_ = f'["{"set" if nested[3] == "true" else "list"}",{_object(content)}]'
        result.attributes.append(
            Attribute(
                name=name,
                type=type_,
                is_required=required == "true",
                is_optional=optional == "true",
                is_computed=computed == "true",
            )
        )
    return result


def _object(block: Block) -> str:
    members = ",".join(f'"{attribute.name}":{attribute.type}' for attribute in block.attributes)
    return f'["object",{{{members}}}]'
