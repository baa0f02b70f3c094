"""The rules of EAF 3.0's schema and of ELAN that matter here, checked without the code under test."""

from __future__ import annotations

import re

from lxml import etree

CHILDREN = [
    "LICENSE",
    "HEADER",
    "TIME_ORDER",
    "TIER",
    "LINGUISTIC_TYPE",
    "LOCALE",
    "LANGUAGE",
    "CONSTRAINT",
    "CONTROLLED_VOCABULARY",
    "LEXICON_REF",
    "REF_LINK_SET",
    "EXTERNAL_REF",
]
ATTRIBUTES = {  # element: (required, optional)
    "ANNOTATION_DOCUMENT": (
        "AUTHOR DATE FORMAT VERSION",
        "{http://www.w3.org/2001/XMLSchema-instance}noNamespaceSchemaLocation",
    ),
    "HEADER": ("", "MEDIA_FILE TIME_UNITS"),
    "MEDIA_DESCRIPTOR": ("MEDIA_URL MIME_TYPE", "RELATIVE_MEDIA_URL TIME_ORIGIN EXTRACTED_FROM"),
    "PROPERTY": ("", "NAME"),
    "TIME_ORDER": ("", ""),
    "TIME_SLOT": ("TIME_SLOT_ID", "TIME_VALUE"),
    "TIER": (
        "TIER_ID LINGUISTIC_TYPE_REF",
        "PARTICIPANT ANNOTATOR DEFAULT_LOCALE PARENT_REF EXT_REF LANG_REF",
    ),
    "ANNOTATION": ("", ""),
    "ALIGNABLE_ANNOTATION": (
        "ANNOTATION_ID TIME_SLOT_REF1 TIME_SLOT_REF2",
        "SVG_REF EXT_REF LANG_REF CVE_REF",
    ),
    "REF_ANNOTATION": ("ANNOTATION_ID ANNOTATION_REF", "PREVIOUS_ANNOTATION EXT_REF LANG_REF CVE_REF"),
    "ANNOTATION_VALUE": ("", ""),
    "LINGUISTIC_TYPE": (
        "LINGUISTIC_TYPE_ID",
        "TIME_ALIGNABLE CONSTRAINTS GRAPHIC_REFERENCES CONTROLLED_VOCABULARY_REF EXT_REF LEXICON_REF",
    ),
    "LOCALE": ("LANGUAGE_CODE", "COUNTRY_CODE VARIANT"),
    "LANGUAGE": ("LANG_ID", "LANG_DEF LANG_LABEL"),
    "CONSTRAINT": ("STEREOTYPE", "DESCRIPTION"),
}
INSIDE = {
    "HEADER": ["MEDIA_DESCRIPTOR", "LINKED_FILE_DESCRIPTOR", "PROPERTY"],
    "TIME_ORDER": ["TIME_SLOT"],
    "TIER": ["ANNOTATION"],
    "ANNOTATION": ["ALIGNABLE_ANNOTATION", "REF_ANNOTATION"],
    "ALIGNABLE_ANNOTATION": ["ANNOTATION_VALUE"],
    "REF_ANNOTATION": ["ANNOTATION_VALUE"],
}


def check_eaf(data: bytes) -> etree._Element:
    """Assert that a document is valid; its root."""
    root = etree.fromstring(data)
    assert root.tag == "ANNOTATION_DOCUMENT"
    for element in root.iter(etree.Element):
        _check_shape(element, CHILDREN if element is root else INSIDE.get(element.tag, []))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", root.get("DATE"))
    for name in ("HEADER", "TIME_ORDER"):
        assert len(root.findall(name)) == 1
    _check_ids(root)
    _check_tiers(root)
    return root


def _check_shape(element: etree._Element, order: list[str]) -> None:
    ranks = [order.index(child.tag) for child in element.iterchildren(etree.Element)]
    assert ranks == sorted(ranks), element.tag
    required, optional = (set(names.split()) for names in ATTRIBUTES[element.tag])
    assert required <= set(element.keys()) <= required | optional, (element.tag, element.keys())
    if element.tag in ("ANNOTATION", "ALIGNABLE_ANNOTATION", "REF_ANNOTATION"):
        assert len(ranks) == 1


def _check_ids(root: etree._Element) -> None:
    declared = ("TIME_SLOT_ID", "ANNOTATION_ID", "LANGUAGE_CODE", "LANG_ID")
    ids = [
        element.get(name)
        for element in root.iter(etree.Element)
        for name in declared
        if name in element.attrib
    ]
    assert len(ids) == len(set(ids)), "an xsd:ID occurs twice"
    assert all(re.fullmatch(r"[^\W\d][\w.-]*", each) for each in ids)
    tiers = [tier.get("TIER_ID") for tier in root.iterfind("TIER")]
    types = [each.get("LINGUISTIC_TYPE_ID") for each in root.iterfind("LINGUISTIC_TYPE")]
    assert len(tiers) == len(set(tiers))
    assert len(types) == len(set(types))
    stereotypes = {each.get("STEREOTYPE") for each in root.iterfind("CONSTRAINT")}
    assert {each.get("CONSTRAINTS") for each in root.iterfind("LINGUISTIC_TYPE")} - {None} <= stereotypes
    for tier in root.iterfind("TIER"):
        assert tier.get("LINGUISTIC_TYPE_REF") in types
        assert tier.get("PARENT_REF", tiers[0]) in tiers
        assert tier.get("LANG_REF") in [None, *(each.get("LANG_ID") for each in root.iterfind("LANGUAGE"))]


def _check_tiers(root: etree._Element) -> None:
    slots = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in root.iter("TIME_SLOT")}
    values = [int(value) for value in slots.values() if value is not None]
    assert values == sorted(values), "time slots out of order"
    constraints = {
        each.get("LINGUISTIC_TYPE_ID"): each.get("CONSTRAINTS") for each in root.iterfind("LINGUISTIC_TYPE")
    }
    spans: dict[str, list[tuple[int, int]]] = {}
    ids: dict[str, list[str]] = {}
    for tier in root.iterfind("TIER"):
        name, parent = tier.get("TIER_ID"), tier.get("PARENT_REF")
        constraint = constraints[tier.get("LINGUISTIC_TYPE_REF")]
        assert (parent is None) == (constraint is None)
        ids[name] = [each.get("ANNOTATION_ID") for each in tier.iterfind("ANNOTATION/*")]
        references = [each.get("ANNOTATION_REF") for each in tier.iterfind("ANNOTATION/REF_ANNOTATION")]
        if constraint in ("Symbolic_Association", "Symbolic_Subdivision"):
            assert set(references) <= set(ids[parent])
            assert constraint == "Symbolic_Subdivision" or len(references) == len(set(references))
            assert len(references) == len(ids[name])
            continue
        assert not references
        times = [
            (slots[each.get("TIME_SLOT_REF1")], slots[each.get("TIME_SLOT_REF2")])
            for each in tier.iterfind("ANNOTATION/ALIGNABLE_ANNOTATION")
        ]
        spans[name] = sorted((int(a), int(b)) for a, b in times if a is not None and b is not None)
        assert all(start < end for start, end in spans[name])
        assert all(a[1] <= b[0] for a, b in zip(spans[name], spans[name][1:], strict=False)), (
            f"overlap in {name}"
        )
        if constraint == "Included_In":
            for start, end in spans[name]:
                assert any(first <= start and end <= last for first, last in spans[parent])
