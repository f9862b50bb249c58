"""Every text of the console is there in both languages, and no page has text of its own."""

import ast
import re
import string
from pathlib import Path

import pytest

from sim.cloud.errors import (
    AccountDisabledError,
    BadLoginError,
    CloudError,
    PublishedError,
    TooManyRequestsError,
)
from sim.cloud.gateways.log_control import LogState
from sim.cloud.model.work import Scope
from sim.cloud.shapes import CampaignState, DeviceState, Outcome, TaskState
from sim.cloud.web import charts
from sim.cloud.web.i18n import Language, Translator, preferred
from sim.cloud.web.notes import error_text
from sim.cloud.web.pages.pack import COMPRESSIONS, ENCRYPTIONS
from sim.cloud.web.pages.task_wizard import MODES, SELECTS
from sim.cloud.web.texts import TEXTS

WEB = Path(__file__).parent.parent.parent / "sim" / "cloud" / "web"
MODULES = sorted(WEB.rglob("*.py"))
#: Keys that are made of a name: their beginning, and the names.
MADE = {
    "taskstate": list(TaskState),
    "campaign": list(CampaignState),
    "device.state": list(DeviceState),
    "outcome": list(Outcome),
    "log.state": list(LogState),
    "scope": list(Scope),
    "mode": MODES,
    "choice": (*COMPRESSIONS, *ENCRYPTIONS),
    "wizard.select": SELECTS,
}
#: Calls whose first argument is text.
TEXT_CALLS = {"label", "button", "link", "notify", "checkbox", "switch", "radio", "tooltip", "menu_item"}
NOT_WORDS = {"cloudsim"}


def family(error: type[CloudError]) -> set[type[CloudError]]:
    return {error}.union(*(family(each) for each in error.__subclasses__()))


def strings(path: Path) -> set[str]:
    return {
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def fields(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text)} - {None}


@pytest.mark.parametrize("key", sorted(TEXTS))
def test_a_text_says_the_same_in_both_languages(key: str) -> None:
    english, chinese = TEXTS[key]
    assert english.strip()
    assert chinese.strip()
    assert fields(english) == fields(chinese)
    others = {"frame.other-language"}
    names = {"device.sn", "device.id", "device.key", "product.id", "product.key", "shell.title", "log.switch"}
    if key not in others | names and not key.startswith("choice.") and key not in ("product.used", "task.of"):
        assert re.search("[\u4e00-\u9fff]", chinese), f"{key} is not Chinese"
        assert not re.search("[\u4e00-\u9fff]", english), f"{key} is not English"


@pytest.mark.parametrize(("area", "names"), MADE.items())
def test_every_name_of_the_cloud_has_a_text(area: str, names: list[str]) -> None:
    assert not {f"{area}.{name}" for name in names} - TEXTS.keys()


def test_every_error_that_a_page_can_meet_has_a_text() -> None:
    # Of starting a server, of devices, of the command line, and those that the log-in page has itself.
    elsewhere = {
        *("data-in-use", "listen", "mosquitto-failed", "mosquitto-missing", "port-in-use", "schema-version"),
        *("bad-message", "bad-sign", "unknown-download", "console-in-use", "console-full", "unknown-host"),
        *("unreachable", "vault-key", "not-running"),
        *("account-disabled", "duplicate-account", "registration-closed"),
    }
    wanted = {error.code for error in family(CloudError)} - {f"cloud.{name}" for name in elsewhere}
    assert {key.removeprefix("error.") for key in TEXTS if key.startswith("error.")} == wanted


def test_log_in_has_texts_for_codes_that_are() -> None:
    codes = {error.code for error in family(CloudError)}
    own = {key.removeprefix("login.error.") for key in TEXTS if key.startswith("login.error.")}
    assert own <= codes
    assert {error.code for error in (BadLoginError, TooManyRequestsError, AccountDisabledError)} <= own


def test_an_english_detail_stands_below_its_chinese_kind() -> None:
    error = PublishedError("product lamp is published")
    assert error_text(Translator(Language.ZH), error) == f"{TEXTS['error.cloud.published'][1]}\n{error}"
    assert error_text(Translator(Language.EN), error) == f"Published already: {error}"


def test_every_state_has_a_colour() -> None:
    assert {*TaskState, *CampaignState} <= charts.BADGES.keys()
    assert set(TaskState) <= charts.STATE_COLORS.keys()


def test_every_text_is_used() -> None:
    used = set().union(*(strings(path) for path in MODULES if path.parent.name != "texts"))
    made = {f"{area}.{name}" for area, names in MADE.items() for name in names}
    # By the code of an error, the reason of an end, or the name of a chart, a form, a button.
    free = ("error.", "login.", "register.", "shell.end.", "dashboard.")
    made |= {f"task.{name}" for name in ("pause", "resume", "retry", "cancel")}
    unused = {key for key in TEXTS.keys() - used - made if not key.startswith(free)}
    assert unused == set()


def test_every_text_that_is_asked_for_is_there() -> None:
    asked = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name == "t":
                asked.add(node.args[0].value)
    assert len(asked) > 100
    assert asked - TEXTS.keys() == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_pages_have_no_text_of_their_own(path: Path) -> None:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            first = node.args[0]
            if (
                node.func.attr in TEXT_CALLS
                and isinstance(first, ast.Constant)
                and isinstance(first.value, str)
            ):
                found.append(first.value)
    assert {text for text in found if re.search("[A-Za-z]{2}", text)} <= NOT_WORDS


def test_data_is_never_taken_for_markup() -> None:
    for path in MODULES:
        source = path.read_text()
        assert not re.search(r"ui\.(html|markdown)\b|v-html|innerHTML", source), path


def test_the_language_is_the_readers_choice_then_the_browsers() -> None:
    assert preferred("en", "zh-CN") is Language.EN
    assert preferred("xx", "zh-CN,en;q=0.5") is Language.ZH
    assert preferred(None, "de") is Language.EN
    assert Translator(Language.ZH)("products.title") == "产品"
