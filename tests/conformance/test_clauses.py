"""The clauses of contract 1: that each is there, with its level, its marks and its technique."""

from exporter_core.conformance.clause import TECHNIQUES, clauses

# As the clauses were laid down: an identifier is never used for another promise. † derived, ‡ Python hygiene.
TABLE = """
    INT-01 MUST T     INT-02 MUST T
    KND-01 MUST S     KND-02 SHOULD† S  KND-03 SHOULD† S  KND-04 MUST P     KND-05 MUST G
    EXP-01 MUST S     EXP-02 MUST† S    EXP-03 SHOULD† S  EXP-04 MUST S     EXP-05 MUST X     EXP-06 MUST G
    EXP-07 MUST F     EXP-08 MUST F     EXP-09 MUST F     EXP-10 MUST G     EXP-11 MUST F     EXP-12 MUST† F
    EXP-13 SHOULD F   EXP-14 MUST F     EXP-15 SHOULD F   EXP-16 SHOULD F   EXP-17 MUST† F    EXP-18 MUST† F
    EXP-19 MUST† F    EXP-20 SHOULD† S
    HND-01 MUST S     HND-02 SHOULD‡ S
    DAT-01 MUST S     DAT-02 MUST† S
    FLU-01 MUST G     FLU-02 MUST X     FLU-03 MUST G     FLU-04 MUST F     FLU-05 MUST P
    SHD-01 MUST S     SHD-02 MUST Q     SHD-03 MUST X     SHD-04 MUST G     SHD-05 MUST S     SHD-06 MUST S
    SHD-07 MUST S     SHD-08 MUST P     SHD-09 MUST† P    SHD-10 SHOULD† G  SHD-11 MUST† G
    CON-01 INFO P
    PY-01 SHOULD‡ C   PY-02 SHOULD‡ C   PY-03 SHOULD‡ Q   PY-04 SHOULD‡ C   PY-05 SHOULD‡ S
"""
WORDS = TABLE.split()
ROWS = dict(zip(WORDS[::3], zip(WORDS[1::3], WORDS[2::3], strict=True), strict=True))


def test_each_clause_has_its_level_its_marks_and_its_technique() -> None:
    assert len(ROWS) == 53
    found = {one.id: (one.mark, one.technique) for one in clauses()}
    assert found == ROWS


def test_each_clause_says_what_it_is() -> None:
    for one in clauses():
        assert one.promise
        assert one.words
        assert one.check
        assert one.function.__doc__, one.id
        assert one.canary is None or one.canary.__doc__, one.id
        assert one.since == 1
        assert one.technique in TECHNIQUES


def test_a_clause_that_builds_on_others_comes_after_them() -> None:
    order = [one.id for one in clauses()]
    for one in clauses():
        assert all(order.index(before) < order.index(one.id) for before in one.after)
