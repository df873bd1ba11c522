"""Writes event types as large products publish them, and documents with verdicts.

    generate.py FOLDER TYPES DOCUMENTS

Schemas of 20 to 60 KB: entities of many fields, defined once and shared by
reference, nested in each other, some of them within themselves. Three versions
of each: the second adds to the first, the third takes a field away and says
how its data becomes data of the second. The verdicts, and the places of what
is wrong, are those of the library jsonschema (PyPI). The same at every run.
"""
import copy, json, pathlib, random, sys

from jsonschema import Draft202012Validator

ENTITIES = """account address attachment branch build campaign cart category channel check comment commit contact
contract coupon customer deployment discount document domain employee folder fulfilment grant group invoice issue
item label ledger license location member milestone money order organization parcel payment permission plan price
product project refund release repository review role schedule shipment site subscription supplier task team ticket
token transfer user variant vendor visit warehouse workflow""".split()
WORDS = "id name url key state kind email title body owner origin status note path sha hash slug code color".split()
WITHIN_THEMSELVES = {"comment", "folder", "category", "task", "organization"}


def scalar(rng):
    return rng.choice([
        {"type": "string", "maxLength": 200},
        {"type": "string", "minLength": 1},
        {"type": "string", "pattern": "^[a-z0-9-]+$"},
        {"type": "string", "enum": ["open", "closed", "merged", "draft"]},
        {"type": "string", "format": "date-time"},
        {"type": ["string", "null"]},
        {"type": "integer", "minimum": 0},
        {"type": "integer", "minimum": 0, "maximum": 100},
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "boolean"},
    ])


def entity(name, before, behind, rng):
    """An entity of many fields, some of which are other entities: of those
    before it, which may hold it themselves, only where there may be none."""
    properties = {"id": {"type": "integer", "minimum": 1, "description": f"The number of the {name}."}}
    for n in range(rng.randint(14, 30)):
        word = f"{rng.choice(WORDS)}_{n}"
        properties[word] = dict(scalar(rng), description=f"The {word.replace('_', ' ')} of the {name}, as it is shown.")
    for other in rng.sample(behind, min(len(behind), rng.randint(3, 8))):
        to = {"$ref": f"#/$defs/{other}"}
        properties[other] = rng.choice([to, to, to, {"anyOf": [to, {"type": "null"}]}])
        for role in rng.sample(["first", "last", "former", "main", "backup"], rng.randint(0, 3)):
            properties[f"{role}_{other}"] = to
        if rng.random() < 0.4:
            properties[f"{other}s"] = {"type": "array", "items": to, "maxItems": 20}
    for other in rng.sample(before, min(len(before), rng.randint(1, 3))):
        properties[f"{other}s_of"] = {"type": "array", "items": {"$ref": f"#/$defs/{other}"}}
    if name in WITHIN_THEMSELVES:
        properties["children"] = {"type": "array", "items": {"$ref": f"#/$defs/{name}"}}
        properties["parent"] = {"anyOf": [{"$ref": f"#/$defs/{name}"}, {"type": "null"}]}
    plain = [word for word, schema in properties.items() if schema.get("type", "array") != "array"]
    schema = {"type": "object", "title": name, "properties": properties,
              "required": ["id"] + rng.sample(plain[1:], 3)}
    if rng.random() < 0.3:
        schema["additionalProperties"] = False
    return schema


def event(rng):
    names = rng.sample(ENTITIES, rng.randint(9, 16))
    # As a repository, its owner and a team are within each other.
    definitions = {name: entity(name, names[:at], names[at + 1:], rng) for at, name in enumerate(names)}
    main, tagged = names[0], names[1:3]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["action", main, "change"],
        "properties": {
            "action": {"enum": ["created", "changed", "removed"]},
            main: {"$ref": f"#/$defs/{main}"},
            "sender": {"$ref": f"#/$defs/{names[3]}"},
            "related": {"type": "array", "items": {"$ref": f"#/$defs/{names[4]}"}},
            "change": {"oneOf": [
                {"type": "object", "required": ["kind", "of"],
                 "properties": {"kind": {"const": name}, "of": {"$ref": f"#/$defs/{name}"}}} for name in tagged]},
        },
        "$defs": definitions,
    }


def versions(first, rng):
    second = copy.deepcopy(first)
    # Whoever knows what is closed would not take more of it.
    open_ones = sorted(name for name, schema in second["$defs"].items() if "additionalProperties" not in schema)
    for name in rng.sample(open_ones, min(3, len(open_ones))):
        second["$defs"][name]["properties"]["added_in_2"] = {"type": "string", "description": "It is new."}
    third = copy.deepcopy(second)
    third["properties"]["renamed_sender"] = third["properties"].pop("sender")
    return [first, second, third], {"steps": [{"rename": "/renamed_sender", "to": "sender"}]}


def make(schema, root, rng, depth):
    """Data that fits."""
    if "$ref" in schema:
        return make(root["$defs"][schema["$ref"].rsplit("/", 1)[1]], root, rng, depth)
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            if choice == "anyOf" and depth > 1:
                return None
            return make(rng.choice(schema[choice]), root, rng, depth)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice(schema["enum"])
    kind = schema["type"] if isinstance(schema["type"], str) else rng.choice(schema["type"])
    if kind == "object":
        made = {}
        for name, member in schema["properties"].items():
            wanted = name in schema.get("required", [])
            deep = "type" not in member or member["type"] == "array"
            if wanted or rng.random() < (0.2 if deep and depth < 2 else 0 if deep else 0.5):
                made[name] = make(member, root, rng, depth + 1)
        return made
    if kind == "array":
        return [make(schema["items"], root, rng, depth + 1) for _ in range(rng.randint(0, 2))]
    if kind == "string":
        return "2026-11-26T08:00:00Z" if schema.get("format") else rng.choice(["a", "main", "release-7", "x" * 40])
    if kind == "integer":
        return rng.randint(1, 100)
    return {"number": rng.uniform(0.1, 1e6), "boolean": rng.random() < 0.5, "null": None}[kind]


def places(data, at=()):
    members = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for name, value in members:
        yield data, name
        yield from places(value)


def spoil(data, rng):
    """Does something to one value that may be wrong."""
    holder, name = rng.choice(list(places(data)))
    value = holder[name]
    what = rng.randrange(4)
    if what == 0 and isinstance(holder, dict):
        del holder[name]
    elif what == 1 and isinstance(value, dict):
        value["nobody_knows_this"] = 1
    elif isinstance(value, str):
        holder[name] = rng.choice([7, "", "No Such Thing!", "y" * 300])
    elif isinstance(value, bool) or value is None:
        holder[name] = "true"
    elif isinstance(value, (int, float)):
        holder[name] = rng.choice(["7", -5, 1e9, 0.5])
    elif isinstance(value, list):
        holder[name] = {}
    else:
        holder[name] = []


def pointer(error):
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in error.absolute_path)


def wrong_places(errors):
    """Where something is wrong, by the library: in a choice, within the alternative that is meant, if one is."""
    found = set()
    for error in errors:
        alternatives = {}
        for inner in error.context or []:
            alternatives.setdefault(inner.relative_schema_path[0], []).append(inner)
        # Meant is what has the type, and the tag if there are tags.
        meant = [all_of_one for all_of_one in alternatives.values() if not any(
            inner.validator == "const" or inner.validator == "type" and inner.absolute_path == error.absolute_path
            for inner in all_of_one)]
        if len(meant) == 1:
            found |= wrong_places(meant[0])
        else:
            found.add(pointer(error))
            for all_of_one in alternatives.values():
                found |= wrong_places(all_of_one)
    return found


def main():
    folder, types, documents = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    with open(folder / "documents.ndjson", "w") as out:
        for number in range(types):
            rng = random.Random(number)
            schema = event(rng)
            while not 20_000 <= len(json.dumps(schema)) <= 60_000:
                schema = event(rng)
            name = f"{schema['required'][1]}.changed_{number}"
            at = folder / "catalogue" / name
            at.mkdir(parents=True)
            all_versions, downgrade = versions(schema, rng)
            for version, text in enumerate(all_versions, 1):
                (at / f"{version}.json").write_text(json.dumps(text))
            (at / "3.downgrade.json").write_text(json.dumps(downgrade))
            validators = [Draft202012Validator(text, format_checker=Draft202012Validator.FORMAT_CHECKER) for text in all_versions]
            for n in range(documents // types):
                version = rng.randint(1, 3)
                data = make(all_versions[version - 1], all_versions[version - 1], rng, 0)
                if n % 2:
                    spoil(data, rng)
                errors = list(validators[version - 1].iter_errors(data))
                line = {"type": name, "version": version, "data": data, "wrong": sorted(wrong_places(errors))}
                print(json.dumps(line), file=out)


main()
