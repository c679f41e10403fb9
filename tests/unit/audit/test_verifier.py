"""The bytes of the sealed trail: encoding, tree, chain and notes against published vectors."""

from __future__ import annotations

import base64
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from app.audit import verifier
from app.audit.models import IAMAuthLog
from app.audit.verifier import (
    EMPTY_ROOT,
    FIELDS,
    KINDS,
    Frontier,
    NoteError,
    check_note,
    checkpoint_body,
    consistency_holds,
    consistency_path,
    encode,
    first_link,
    inclusion_path,
    inclusion_root,
    key_id,
    leaf_hash,
    next_link,
    node_hash,
    prune_body,
    range_root,
    read_checkpoint,
    read_notes,
    read_prune,
    read_verifier_key,
    sign_note,
    verifier_key,
)  # fmt: skip

# The reference tree of RFC 6962 implementations, whose hashing RFC 9162 keeps.
LEAVES = [
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# The example of C2SP signed-note and of the Go implementation, key and signature included.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SECRET = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PETER_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PETER_SIGNED = (
    "\n— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
TENANT = UUID("0195c1a2-0000-7000-8000-000000000001")
AT = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)


def hashes(leaves: list[bytes]) -> list[bytes]:
    return [leaf_hash(leaf) for leaf in leaves]


def subtree_of(leaves: list[bytes]):
    def subtree(level: int, position: int) -> bytes:
        if level == 0:
            return leaves[position]
        return node_hash(subtree(level - 1, 2 * position), subtree(level - 1, 2 * position + 1))

    return subtree


def event(**changed) -> dict:
    values = dict.fromkeys(FIELDS)
    values |= {
        "id": TENANT, "tenant_id": TENANT, "action": "LOGIN_FAILED", "severity": "warning",
        "status": "failure", "actor_type": "anonymous", "changes": {}, "encoding_version": 1,
        "metadata": {"b": 1, "a": ["ä", None, True]}, "occurred_at": AT, "recorded_at": AT,
        "ip_index": b"0123456789abcdef",
    }  # fmt: skip
    return values | changed


# ------------------------------------------------------------------ the encoding


def test_every_column_but_the_mark_is_sealed() -> None:
    columns = {column.name for column in IAMAuthLog.__table__.columns}
    assert set(FIELDS) == columns - {"mac"}
    assert len(FIELDS) == len(set(FIELDS)) == len(KINDS)


def test_the_encoding_is_what_the_page_says() -> None:
    found = encode(event())
    head = b"iam-audit-event/1\nU" + (16).to_bytes(8, "big") + TENANT.bytes
    assert found.startswith(head)
    null = b"N" + bytes(8)
    text = b'J\x00\x00\x00\x00\x00\x00\x00\x1b{"a":["\xc3\xa4",null,true],"b":1}'
    assert null + text[:9].replace(b"\x1b", len(text[9:]).to_bytes(1, "big")) + text[9:] in found
    moment = int(AT.timestamp()) * 1_000_000 + 89
    assert found.endswith((b"T" + (8).to_bytes(8, "big") + moment.to_bytes(8, "big")) * 2)


def test_at_400_text_shifted_between_fields_is_another_event() -> None:
    one = encode(event(action="ab", severity="c"))
    assert one != encode(event(action="a", severity="bc"))
    assert encode(event(ip=None, user_agent="x")) != encode(event(ip="x", user_agent=None))
    assert encode(event(ip="")) != encode(event(ip=None))


short = st.one_of(st.none(), st.text(max_size=4))


@given(st.tuples(short, short, short), st.tuples(short, short, short))
def test_at_400_different_events_never_share_an_encoding(one, other) -> None:
    names = ("ip", "user_agent", "request_id")
    same = encode(event(**dict(zip(names, one, strict=True)))) == encode(
        event(**dict(zip(names, other, strict=True)))
    )
    assert same == (one == other)


@pytest.mark.parametrize(
    "bad",
    [
        {"metadata": {"x": 1.5}}, {"metadata": {"x": [{"y": float("nan")}]}}, {"metadata": {1: 2}},
        {"ip": "\ud800"}, {"occurred_at": AT.replace(tzinfo=None)}, {"id": "text"},
        {"ip_index": "a"},
    ],
)  # fmt: skip
def test_what_has_no_canonical_form_is_refused(bad) -> None:
    with pytest.raises((ValueError, TypeError, AttributeError)):
        encode(event(**bad))


# ------------------------------------------------------------------ tree and proofs


@pytest.mark.parametrize("size", range(1, 9))
def test_the_tree_has_the_published_roots(size) -> None:
    leaves = hashes([bytes.fromhex(leaf) for leaf in LEAVES[:size]])
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    assert frontier.root().hex() == ROOTS[size - 1]
    assert range_root(0, size, subtree_of(leaves)).hex() == ROOTS[size - 1]
    again = Frontier.from_bytes(frontier.to_bytes(), size)
    assert again.root() == frontier.root()
    assert Frontier().root() == EMPTY_ROOT == range_root(0, 0, subtree_of([]))


def test_the_proofs_are_the_published_ones() -> None:
    subtree = subtree_of(hashes([bytes.fromhex(leaf) for leaf in LEAVES]))
    assert [item.hex() for item in inclusion_path(5, 8, subtree)] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]
    assert [item.hex() for item in inclusion_path(2, 3, subtree)] == [ROOTS[1]]
    assert [item.hex() for item in consistency_path(6, 8, subtree)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]
    assert [item.hex() for item in consistency_path(2, 5, subtree)] == [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ]


def root_of(leaves: list[bytes]) -> bytes:
    return range_root(0, len(leaves), subtree_of(leaves))


@given(st.integers(1, 70), st.data())
def test_every_inclusion_proof_leads_to_the_root_and_no_other_does(size, data) -> None:
    leaves = hashes([bytes([number]) for number in range(size)])
    index = data.draw(st.integers(0, size - 1))
    path = inclusion_path(index, size, subtree_of(leaves))
    root = root_of(leaves)
    assert inclusion_root(leaves[index], index, size, path) == root
    assert inclusion_root(leaf_hash(b"other"), index, size, path) != root
    with pytest.raises(ValueError):
        inclusion_root(leaves[index], index, size, [*path, root])
    if path:
        with pytest.raises(ValueError):
            inclusion_root(leaves[index], index, size, path[:-1])
    with pytest.raises(ValueError):
        inclusion_root(leaves[index], size, size, path)


@given(st.integers(0, 70), st.data())
def test_every_consistency_proof_holds_and_no_other_does(size, data) -> None:
    leaves = hashes([bytes([number]) for number in range(size)])
    old = data.draw(st.integers(0, size))
    path = consistency_path(old, size, subtree_of(leaves))
    one, two = root_of(leaves[:old]), root_of(leaves)
    assert consistency_holds(old, one, size, two, path)
    assert not consistency_holds(old, leaf_hash(b"other"), size, two, path)
    assert not consistency_holds(old, one, size, leaf_hash(b"other"), path) or old == 0
    assert not consistency_holds(old, one, size, two, [*path, one])
    if path:
        assert not consistency_holds(old, one, size, two, path[:-1])
    assert not consistency_holds(size + 1, one, size, two, path)


@pytest.mark.parametrize(("data", "size"), [(b"x", 1), (bytes(32), 2), (bytes(32), 0)])
def test_a_frontier_must_fit_its_size(data, size) -> None:
    with pytest.raises(ValueError):
        Frontier.from_bytes(data * (2 if size == 2 else 1), size)


def test_proofs_are_made_for_places_that_exist_only() -> None:
    with pytest.raises(ValueError):
        inclusion_path(3, 3, subtree_of([]))
    with pytest.raises(ValueError):
        consistency_path(4, 3, subtree_of([]))


def test_the_chain_binds_tenant_number_and_leaf() -> None:
    leaf = leaf_hash(b"x")
    links = {
        next_link(first_link(TENANT), 0, leaf),
        next_link(first_link(UUID(int=1)), 0, leaf),
        next_link(first_link(TENANT), 1, leaf),
        next_link(first_link(TENANT), 0, leaf_hash(b"y")),
    }
    assert len(links) == 4


# ------------------------------------------------------------------ notes


def peter() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(PETER_SECRET)[1:])


def test_the_published_note_is_made_and_read_byte_for_byte() -> None:
    public = peter().public_key().public_bytes_raw()
    assert verifier_key("PeterNeumann", public) == PETER
    assert read_verifier_key(PETER) == ("PeterNeumann", public)
    note = sign_note(PETER_TEXT, "PeterNeumann", peter().sign, public)
    assert note == PETER_TEXT + PETER_SIGNED
    assert check_note(note, [PETER]) == PETER_TEXT


def test_a_note_of_several_signers_needs_one_that_is_trusted() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    public = other.public_key().public_bytes_raw()
    cosigned = PETER_TEXT + PETER_SIGNED + sign_note("x\n", "w", other.sign, public)[3:]
    assert check_note(cosigned, [PETER]) == PETER_TEXT
    with pytest.raises(NoteError, match="no trusted key"):
        check_note(cosigned, [verifier_key("stranger", public)])
    with pytest.raises(NoteError, match="does not fit"):
        check_note(cosigned, [PETER, verifier_key("w", public)])


@pytest.mark.parametrize(
    "note",
    [
        (PETER_TEXT + PETER_SIGNED).replace("cryptography", "cryptographY"),
        PETER_TEXT, "", "\n", PETER_TEXT + PETER_SIGNED[:-1], PETER_TEXT + "\n",
        PETER_TEXT + PETER_SIGNED.replace("—", "-"), PETER_TEXT + "\n— PeterNeumann AAAA\n",
        (PETER_TEXT + PETER_SIGNED).replace("\n", "\r\n"), PETER_TEXT + PETER_SIGNED + "x\n",
        PETER_TEXT + PETER_SIGNED.replace("AM=", "AN="),
    ],
)  # fmt: skip
def test_a_note_that_was_touched_is_refused(note) -> None:
    with pytest.raises(NoteError):
        check_note(note, [PETER])


@pytest.mark.parametrize("position", range(0, len(PETER), 7))
def test_a_key_with_a_typing_error_is_refused(position) -> None:
    letter = "B" if PETER[position] != "B" else "C"
    with pytest.raises(NoteError):
        read_verifier_key(PETER[:position] + letter + PETER[position + 1 :])


def signed(body: str) -> str:
    return sign_note(body, "iam-audit/x", peter().sign, peter().public_key().public_bytes_raw())


def test_a_checkpoint_is_a_c2sp_checkpoint() -> None:
    body = checkpoint_body("iam-audit/x", 7, bytes(range(32)), bytes(32), AT)
    assert body.split("\n") == [
        "iam-audit/x", "7", base64.b64encode(bytes(range(32))).decode(),
        "chain " + base64.b64encode(bytes(32)).decode(), "time 2026-03-04T05:06:07.000089Z", "",
    ]  # fmt: skip
    found = read_checkpoint(signed(body))
    assert (found.origin, found.size, found.root) == ("iam-audit/x", 7, bytes(range(32)))
    assert (found.chain, found.time) == (bytes(32), AT)
    zone = AT.astimezone(tz=__import__("zoneinfo").ZoneInfo("Asia/Tokyo"))
    assert checkpoint_body("iam-audit/x", 7, bytes(range(32)), bytes(32), zone) == body


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\n7\n", "\n07\n"),
        ("\n7\n", "\n-7\n"),
        ("chain ", "chains "),
        ("Z\n", "\n"),
        ("\n7\n", "\n"),
        ("AAA=", "AAA"),
        ("time ", "extra x\ntime "),
        ("\n7\n", "\n٧\n"),
        ("\n7\n", f"\n{'7' * 5000}\n"),
    ],
)
def test_a_malformed_checkpoint_is_refused(old, new) -> None:
    body = checkpoint_body("iam-audit/x", 7, bytes(32), bytes(32), AT)
    assert old in body
    with pytest.raises(NoteError):
        read_checkpoint(body.replace(old, new))


def test_a_prune_statement_is_read_back_and_is_no_checkpoint() -> None:
    body = prune_body("iam-audit/x", 0, 9, bytes(32), 2555, AT)
    found = read_prune(signed(body))
    assert (found.from_seq, found.until_seq, found.days, found.time) == (0, 9, 2555, AT)
    with pytest.raises(NoteError):
        read_checkpoint(body)
    with pytest.raises(NoteError):
        read_prune(checkpoint_body("iam-audit/x", 7, bytes(32), bytes(32), AT))


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u2003b"])
def test_a_name_that_would_break_a_note_is_refused(name) -> None:
    with pytest.raises(NoteError):
        checkpoint_body(name, 0, bytes(32), bytes(32), AT)
    with pytest.raises(NoteError):
        sign_note("x\n", name, peter().sign, bytes(32))
    with pytest.raises(NoteError):
        sign_note("x\n\ny\n", "fine", peter().sign, bytes(32))


def test_the_notes_of_an_anchor_are_found_as_text_and_in_lines() -> None:
    one, two = signed("a\n1\nb\n"), signed("a\n2\nb\n")
    assert read_notes(f"{one}\n{two}\n") == [one, two]
    line = verifier._line({"note": one}).strip()
    assert read_notes(f"<110>1 2026 host flask-iam - CHECKPOINT - {line}\n{line}\n") == [one, one]
    assert read_notes("") == []


def test_m3_notes_in_lines_and_as_text_are_read_from_one_file() -> None:
    one, two = signed("a\n1\nb\n"), signed("a\n2\nb\n")
    line = verifier._line({"note": two})
    assert sorted(read_notes(f"{one}\n{line}kept by Ann\n")) == [one, two]
    assert read_notes(f"{line[:-4]}\n\n{one}") == [one]


@pytest.mark.parametrize("cut", [1, 4, 8])
def test_m3_a_note_that_was_cut_off_hides_none_that_follows(cut) -> None:
    one, two = signed("a\n1\nb\n"), signed("a\n2\nb\n")
    assert read_notes(f"\n\n{one[:cut]}\n\n{one}\n\n{two}") == [one, two]
    signature = one.index("—")
    assert read_notes(f"{one[signature:]}\n\n{two}") == [two]


def test_the_key_id_is_four_bytes_of_name_and_key() -> None:
    assert key_id("PeterNeumann", peter().public_key().public_bytes_raw()).hex() == "c74f20a3"


@pytest.mark.parametrize(
    ("text", "meant"), [("90m", timedelta(minutes=90)), ("2h", timedelta(hours=2))]
)
def test_durations(text, meant) -> None:
    assert verifier.duration(text) == meant
    for bad in ("", "h", "2", "-2h", "2w"):
        with pytest.raises((ValueError, IndexError)):
            verifier.duration(bad)


def test_texts_met_lately_are_kept_and_no_more(monkeypatch) -> None:
    monkeypatch.setattr(verifier, "_MOST_KEPT", 10)
    texts = verifier._Texts("S", str.encode)
    for number in range(25):
        assert texts[str(number)] == verifier.part_of("S", str(number).encode())
        assert texts[None] == verifier._NULL
        assert len(texts) <= 10
    assert "24" in texts


def test_m3_links_that_are_all_torn_are_not_all_kept() -> None:
    seals = (verifier.Sealed(seq, bytes(16), bytes(32), b"x", None) for seq in range(200))
    trail = verifier.Trail(TENANT, None, (), (), (), seals, ())
    check = verifier._Check(
        trail, verifier._Asked(0, 0, (), {}, None, 0, ()), report := verifier.Report()
    )
    check.run()
    assert len(check.torn) == 64
    assert sum(found.code == "edited" for found in report.findings) == 64


# ------------------------------------------------------------------ on its own


def test_the_file_runs_alone(tmp_path) -> None:
    """An auditor copies one file: nothing of the package may be needed."""
    copy = tmp_path / "verifier.py"
    copy.write_bytes(Path(verifier.__file__).read_bytes())
    run = subprocess.run(
        [sys.executable, "-I", str(copy), "--help"], cwd=tmp_path, capture_output=True, check=False
    )
    assert run.returncode == 0, run.stderr
    nothing = subprocess.run(
        [sys.executable, "-I", str(copy), str(tmp_path / "no")], capture_output=True, check=False
    )
    assert nothing.returncode == 2
