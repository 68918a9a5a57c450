import base64
import time
import traceback
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, strategies as st
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, PostgresDsn, RootModel, SecretBytes, SecretStr

from exporter_core import masking
from exporter_core.errors import MaskedCauseError
from exporter_core.exporter import ExporterConfig
from exporter_core.masking import MASK, Masker, cause_of, describe, masker_for
from exporter_core.untrusted import ErrorSnapshot

CANARY = "s3cr3t-Canary/+&"


def lower_percent_encoding(text: str) -> str:
    return quote(text, safe="").replace("%2F", "%2f").replace("%2B", "%2b")


@dataclass
class Login:
    user: str
    secret: SecretStr = field(default_factory=lambda: SecretStr(CANARY))


class Header(BaseModel):
    name: str
    value: str


class Config(ExporterConfig):
    url: str = ""
    dsn: AnyUrl | None = None
    secret: SecretStr | None = None
    raw: SecretBytes | None = None
    password: str = ""
    token_file: str = ""
    headers: dict[str, str] = Field(default_factory=dict)
    header_pairs: list[Header] = Field(default_factory=list, alias="http_headers")
    headers_list: str | SecretStr = ""
    logins: list[Login] = Field(default_factory=list)
    nested: dict[str, dict[str, tuple[SecretStr, ...]]] = Field(default_factory=dict)
    postgres: PostgresDsn | None = None


@pytest.mark.parametrize(
    "config",
    [
        Config(secret=SecretStr(CANARY)),
        Config(raw=SecretBytes(CANARY.encode())),
        Config(password=CANARY),
        Config(url=f"https://alice:{CANARY}@host/path"),
        Config(url=f"https://alice:{quote(CANARY, safe='')}@host/path"),
        Config(url=f"https://{quote(CANARY, safe='')}@host/path"),
        Config(dsn=AnyUrl(f"https://alice:{quote(CANARY, safe='')}@host/path")),
        Config(headers={"X-Any": CANARY}),
        Config(headers={"Authorization": f"Bearer {CANARY}"}),
        Config(http_headers=[Header(name="Authorization", value=CANARY)]),
        Config(headers_list=f"a=b,x-key={CANARY}"),
        Config(headers_list=SecretStr(f"a=b,x-key={quote(CANARY, safe='')}")),
        Config(headers_list=SecretStr(f"authorization=Bearer%20{quote(CANARY, safe='')},a=b")),
        Config(logins=[Login("alice")]),
        Config(nested={"a": {"b": (SecretStr(CANARY),)}}),
        Config(postgres=PostgresDsn(f"postgresql://u:{quote(CANARY, safe='')}@h1,u2:pw22@h2/db")),
    ],
    ids=lambda config: ",".join(sorted(config.model_fields_set)),
)
@pytest.mark.parametrize(
    "form",
    [str, repr, quote, lambda text: quote(text, safe=""), quote_plus, lower_percent_encoding],
    ids=["plain", "repr", "quoted", "quoted-all", "plus", "lower"],
)
def test_a_secret_of_the_config_is_masked_in_every_form_it_may_be_printed_in(config: Config, form) -> None:
    shown = form(CANARY)
    masked = masker_for(config)(f"cannot reach backend ({shown}) again {shown}!")
    assert shown not in masked
    assert CANARY not in masked
    assert masked.startswith("cannot reach backend (")
    assert masked.endswith("!")


def test_names_and_plain_values_of_a_config_stay_readable() -> None:
    config = Config(
        url="https://alice:hunter2hunter2@host/path",
        token_file="/run/token",  # noqa: S106 - a path
        headers={"X-Scope-OrgID": "1"},
        http_headers=[Header(name="Content-Type", value="longer")],
    )
    masker = masker_for(config)
    text = "line 1: Content-Type of alice at host/path, /run/token"
    assert masker(text) == text
    assert masker("got longer, hunter2hunter2") == f"got {MASK}, {MASK}"


def test_no_config_still_masks_credentials_in_urls() -> None:
    masker = masker_for(None)
    assert (
        masker("cannot reach https://alice:pw@host:80/x: refused") == f"cannot reach https://{MASK}@host:80/x: refused"
    )


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://u:p%40ss@db/x", f"postgresql://{MASK}@db/x"),
        ("postgresql://u:p@ss@db/x", f"postgresql://{MASK}@db/x"),
        ("postgresql://u:a/b@db/x", f"postgresql://{MASK}@db/x"),
        ("postgresql://u:80@db/x", f"postgresql://{MASK}@db/x"),
        ("postgresql://u:a://b@db/x", f"postgresql://{MASK}@db/x"),
        ("https://ghp_token@host/", f"https://{MASK}@host/"),
        ("nats://u:p@h1:1,nats://u:q@h2:2", f"nats://{MASK}@h1:1,nats://{MASK}@h2:2"),
        ("GET /?api_key=abc&x=1", f"GET /?api_key={MASK}&x=1"),
        ("host=h password='a b' port=1", f"host=h password={MASK} port=1"),
        ("{'password': 'a b'}", f"{{'password': {MASK}}}"),
        ("Authorization: Bearer abc", f"Authorization: {MASK}"),
        ("{'x-api-key': 'abc'}", f"{{'x-api-key': {MASK}}}"),
        ("Cookie: sid=abc; b=c", f"Cookie: {MASK}"),
        ("sent bearer eyJ0eXAi.x.y1", f"sent bearer {MASK}"),
        ("POST /v1/metrics?key=abcdefgh&x=1", f"POST /v1/metrics?key={MASK}&x=1"),
        ("no such page: /a?x=1&auth=abcdefgh.", f"no such page: /a?x=1&auth={MASK}"),
        ("password='a b", f"password={MASK}"),
        (f"https://u:{'p' * 2000}@host/", f"https://{MASK}/"),
    ],
)
def test_what_looks_like_a_credential_is_always_masked(text: str, masked: str) -> None:
    assert Masker()(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "token: expected a string, not null",
        "authorization: expected a string",
        "password: missing",
        "http://localhost:9090/api?mail=a@b",
        "basic authentication failed, bearer authentication too",
        "see https://example.org/a for alice@example.org",
        "timeout=3 interval=5",
    ],
)
def test_ordinary_messages_stay_as_they_are(text: str) -> None:
    assert Masker()(text) == text


def test_a_short_secret_is_masked_as_a_whole_word_only() -> None:
    masker = Masker(["ab"])
    assert masker("ab about ab, (ab) cab") == f"{MASK} about {MASK}, ({MASK}) cab"


def test_empty_secrets_change_nothing() -> None:
    assert Masker(["", "  ", "***"])("a b *** c") == "a b *** c"


def test_overlapping_secrets_are_masked_whole() -> None:
    assert Masker(["abcdef", "defghi"])("x abcdefghi y") == f"x {MASK} y"
    assert Masker(["anana"])("bananana") == f"b{MASK}"


def test_the_lines_of_a_multi_line_secret_are_masked_one_by_one() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nabcdefghijklm=\n-----END KEY-----\n"
    assert Masker([key])("bad line MIIEvQIBADANBg") == f"bad line {MASK}"


def test_a_masker_shows_no_secret_of_its_own() -> None:
    assert CANARY not in repr(Masker([CANARY]))


@pytest.mark.parametrize(
    "piece", ["a", "secret", "://a:", "cookie:", "token=", "bearer ", "x-", "'password'", "://", "authorization: "]
)
def test_a_large_text_is_masked_in_a_moment(piece: str) -> None:
    text = piece * (300_000 // len(piece))
    assert len(Masker(["abcd"])(text)) <= len(text) + 300_000


HARD_TO_SEARCH = [
    *("a", "secret", "token", "token-", "x-", "a.", "aaaa ", " ", "'", '"', "\"'", "@", "a@"),
    *("://", "://a", "://a:", "://a:b", "://@", "aaaa://", f"://{'a' * 499}", f"://{'a' * 998} ", f"://a:{'b' * 499}"),
    *("token=", "sig=", "password='", "'password'", "'token':", "'token': \"", "'token' ", "?key=", "?key"),
    *("authorization: ", "authorization:basic ", "authorization ", "x-key:", "x-key ", "api-key:", "x-keykey"),
    *("cookie:", "cookie:a=", "cookie: aaaaaa", "set-cookie:", "bearer ", "bearer\t", "basic a", "bearer aaaaaaaa"),
]


def grows_no_faster_than(text, search):
    """Compare the times for a text and a quarter of it: a linear search takes 4 times as long, a quadratic one 16."""

    least = 0.002  # what takes no longer is fast, whatever a quarter takes

    def seconds(text, enough=0.0):
        best = float("inf")
        for _ in range(3):
            begun = time.thread_time()  # of this thread alone, whatever else the machine does
            search(text)
            best = min(best, time.thread_time() - begun)
            if best < enough:
                break
        return best

    quarter = text[: len(text) // 4]
    return any((taken := seconds(text, least)) < least or taken < 8 * seconds(quarter) + least for _ in range(3))


SEARCHES = [pattern.findall for pattern in masking._ALWAYS]


@pytest.mark.parametrize("search", [*SEARCHES, lambda text: list(masking._passwords_with_a_slash(text))])
def test_the_time_of_a_search_grows_no_faster_than_the_text(search):
    for piece in HARD_TO_SEARCH:
        assert grows_no_faster_than(piece * (40_000 // len(piece)), search), piece


@pytest.mark.parametrize("piece", ["://", "://a:", "http://a@", "a", "a@", "?a="])
def test_the_time_to_find_the_secrets_of_options_grows_no_faster_than_they_do(piece):
    text = f"http://host/{piece * (32_000 // len(piece))}"
    assert grows_no_faster_than(text, lambda text: masker_for({"endpoint": text, "headers": {"a": text}}))


def test_a_long_text_is_cut():
    text = "word " * 1_000_000
    assert Masker(["secret"])(text) == f"{text[:16384]}..."
    assert Masker(["secret"])(text, 10) == "word word ..."
    assert Masker(["secret"])("word word ", 10) == "word word "


@given(
    secret=st.sampled_from(["s3cr3t", "two words", "p%40ss+/&", "x" * 1500, "ab" * 9000, "a\nb" * 500]),
    longest=st.integers(20, 40),
    at=st.integers(0, 60),
    after=st.sampled_from(["", "y", "y" * 5000]),
)
def test_a_secret_across_the_cut_is_masked(secret, longest, at, after):
    masked = Masker([secret])("-" * at + secret + after, longest)
    assert masked.rstrip(".") in {"-" * min(at, longest) + end for end in ("", MASK, MASK + after[: longest - at])} or (
        len(at * "-" + secret) <= longest and masked.startswith("-" * at + MASK)
    )


@pytest.mark.parametrize(
    "text",
    [
        "https://alice:{}@host",
        "https://{}@host",
        "password={}",
        "password='{}'",
        "{{'password': '{}'}}",
        "authorization: bearer {}",
        "cookie: a={}",
        "/a?api_key={}",
        "/a?key={}",
    ],
)
@pytest.mark.parametrize("length", [8, 40, 400, 5000])
def test_what_looks_like_a_credential_is_masked_across_the_cut_too(text, length):
    text = text.format("7" * length)
    for longest in range(30, 60):
        assert "7" not in Masker()(f"{text} {'-' * 5000}", longest)


@pytest.mark.parametrize(
    ("url", "credentials"),
    [
        ("https://alice:hunter22@host/path", "alice:hunter22"),
        ("https://alice:p%40ss%20word@host/path", "alice:p@ss word"),
        ("https://alice:p%40ss%20word@host/path", "alice:p%40ss%20word"),
        ("https://t0ken@host/path", "t0ken:"),
        ("nats://u:first1@h1,nats://v:second2@h2", "v:second2"),
        ("nats://u:first1@h1,v:second2@h2", "v:second2"),
    ],
)
@pytest.mark.parametrize("option", [str, SecretStr])
def test_the_token_of_basic_authentication_by_a_url_is_masked(url, credentials, option):
    token = base64.b64encode(credentials.encode()).decode()
    masker = masker_for({"endpoint": option(url)})
    assert masker(f"the server got {token}.") == f"the server got {MASK}."
    assert masker(f"the server got {token.rstrip('=')}.") == f"the server got {MASK}."


def test_a_key_in_the_query_of_a_url_is_masked_wherever_it_is_echoed():
    masker = masker_for(Config(url="https://host/v1?tenant=blue&code=abcd&k=0123456789&format=json"))
    assert masker("no /v1?tenant=blue&code=abcd&k=0123456789&format=json") == f"no /v1?{MASK}"
    assert masker("abcd 0123456789 blue json") == f"{MASK} {MASK} blue json"


@pytest.mark.parametrize("show", [str, repr, "{}".format, "{!r}".format])
def test_options_are_shown_without_the_password_of_a_url(show):
    config = Config(
        url=f"https://alice:{CANARY}@host/path?key={CANARY}",
        dsn=AnyUrl(f"https://alice:{quote(CANARY, safe='')}@host/"),
        password=CANARY,
        headers={"X-Any": CANARY},
        http_headers=[Header(name="Authorization", value=CANARY)],
        postgres=PostgresDsn(f"postgresql://u:{quote(CANARY, safe='')}@h1,u2:pw22@h2/db"),
        token_file="/run/token",  # noqa: S106 - a path
    )
    shown = show({"of a reader": config}) if show is not str else str(config)
    for secret in (CANARY, quote(CANARY, safe=""), "pw22"):
        assert secret not in shown
    assert "token_file='/run/token'" in shown
    assert "@host/path" in shown


class Root(RootModel[dict[str, SecretStr]]):
    def __iter__(self):
        raise AssertionError("a model's own iteration is not used")


def test_root_models_and_extra_fields_are_looked_into() -> None:
    class Loose(BaseModel):
        model_config = ConfigDict(extra="allow")
        inner: Root

    config = Loose.model_validate({"inner": {"a": CANARY}, "password": "hunter22"})
    assert masker_for(config)(f"{CANARY} hunter22") == f"{MASK} {MASK}"


secret_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="*"), min_size=4).filter(
    lambda text: text.strip() and len(text.strip()) >= 4
)


@given(secrets=st.lists(secret_text, max_size=4), texts=st.lists(st.text(), min_size=1, max_size=5))
def test_no_secret_survives_wherever_it_stands(secrets: list[str], texts: list[str]) -> None:
    text = "".join(part + secret for part in texts for secret in [*secrets, ""])
    masked = Masker(secrets)(text)
    for secret in secrets:
        for piece in masked.split(MASK):
            assert secret not in piece


SECRET = "s3" + "cr3t"  # in no source line, which a traceback prints too


def printed(error):
    return "".join(traceback.format_exception(error))


def raised(make):
    with pytest.raises((OSError, SyntaxError, ExceptionGroup)) as caught:
        make()
    return caught.value


def test_a_cause_without_secrets_is_chained_as_it_is():
    error = OSError("no route to host")
    assert cause_of(error, Masker([SECRET])) is error


def chained_by_cause():
    raise OSError("refused") from ValueError(f"token {SECRET}")


def chained_by_context():
    try:
        int(f"token {SECRET}")
    except ValueError:
        raise OSError("refused")  # noqa: B904 - the implicit chain is what is tested


def in_a_group():
    raise ExceptionGroup("two", [OSError("refused"), ValueError(f"token {SECRET}")])


def in_a_note():
    error = OSError("refused")
    error.add_note(f"token {SECRET}")
    raise error


def in_a_line_of_source():
    raise SyntaxError("invalid syntax", ("settings.py", 1, 1, f"token = {SECRET}"))


def beside_a_note_that_cannot_be_shown():
    class Note:
        def __str__(self):
            raise ValueError

    error = OSError(f"token {SECRET}")
    error.__notes__ = [Note()]
    raise error


def behind_more_text_than_is_searched():
    raise OSError("x" * 100_000 + SECRET)


def behind_more_errors_than_are_searched():
    error = OSError(f"token {SECRET}")
    for number in range(100):
        outer = OSError(number)
        outer.__cause__, error = error, outer
    raise error


@pytest.mark.parametrize(
    "make",
    [
        chained_by_cause,
        chained_by_context,
        in_a_group,
        in_a_note,
        in_a_line_of_source,
        beside_a_note_that_cannot_be_shown,
        behind_more_text_than_is_searched,
        behind_more_errors_than_are_searched,
    ],
)
def test_a_cause_that_tells_a_secret_anywhere_is_stood_in_for(make):
    error = raised(make)
    stand_in = cause_of(error, Masker([SECRET]))
    ours = OSError("delivery failed")
    ours.__cause__ = stand_in
    assert isinstance(stand_in, MaskedCauseError)
    assert SECRET in printed(error)
    assert SECRET not in printed(ours)
    assert f"in {make.__name__}" in printed(ours)  # where it happened is still told


def test_no_more_of_a_chain_is_searched_than_takes_a_moment():
    searched = []

    class Counting(Masker):
        def __call__(self, text):
            searched.append(len(text))
            return super().__call__(text)

    error = OSError("x" * 10_000)
    for _ in range(50):
        outer = OSError("x" * 10_000)
        outer.__cause__, error = error, outer
    assert isinstance(cause_of(error, Counting([SECRET])), MaskedCauseError)
    assert sum(searched) < 20_000


class Acting(str):
    """A text whose methods are code of a plugin's."""

    __slots__ = ()

    def act(self, *_, **__):
        raise AssertionError("the text's own code ran")

    __getitem__ = __len__ = __format__ = __str__ = __contains__ = find = split = splitlines = isprintable = act


def test_a_text_that_an_error_gives_is_a_plain_one_from_there_on():
    class ActingError(Exception):
        def __str__(self):
            return Acting("no route")

    ActingError.__name__ = Acting("ActingError")
    error = ActingError()
    error.add_note(Acting("in a note"))
    told = ErrorSnapshot.of(error)
    assert [type(text) for text in (told.text, *(told.printed or ()))] == [str, str, str]
    assert describe(told, Masker(["secret"])) == "ActingError: no route"
    assert cause_of(told, Masker(["secret"])) is error
