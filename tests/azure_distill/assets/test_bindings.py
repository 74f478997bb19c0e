from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azure_distill.assets.bindings import Block, CommandError, Reference, Text, check, render, text, tokenize
from azure_distill.assets.component import Component, Port
from azure_distill.errors import InvalidJob

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
PLAIN = st.text(st.characters(exclude_characters="$", exclude_categories=["Cs"]))
VALUES = st.one_of(
    st.text(st.characters(exclude_characters="'\0", exclude_categories=["Cs"])), st.integers(), st.booleans()
)


def component(command: str, inputs: dict[str, Port] | None = None, outputs: dict[str, Port] | None = None) -> Component:
    return Component(
        "probe", Path("."), inputs or {}, outputs or {}, command, "azureml:e@latest", Path("."), Path("c.yaml")
    )


@given(
    st.text(st.characters(exclude_categories=["Cs"])).filter(lambda words: "${{" not in words and "$[[" not in words)
)
def test_text_without_placeholders_stands_as_it_is(words: str) -> None:
    assert render(words, {}, {}) == words


@given(st.lists(st.tuples(PLAIN, NAMES, VALUES)), PLAIN)
def test_every_placeholder_becomes_its_value(pieces: list[tuple[str, str, str | int | bool]], end: str) -> None:
    values = {f"{name}_{place}": value for place, (_, name, value) in enumerate(pieces)}
    command = "".join(f"{words}${{{{ inputs.{name}_{place} }}}}" for place, (words, name, _) in enumerate(pieces)) + end
    expected = "".join(words + text(value) for words, _, value in pieces) + end
    assert render(command, values, {}) == expected


@given(VALUES)
def test_bash_reads_back_the_very_value_between_single_quotes(value: str | int | bool) -> None:
    line = render("printf %s '${{inputs.v}}'", {"v": value}, {})
    assert subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout == text(value).encode()


@given(PLAIN, PLAIN, st.booleans())
def test_a_block_is_all_there_or_not_at_all(before: str, inside: str, given_it: bool) -> None:
    inside = inside.replace("]]", "")
    command = f"{before}$[[{inside}-x '${{{{inputs.x}}}}' ]]{before}"
    rendered = render(command, {"x": "v" if given_it else None}, {})
    assert rendered == (f"{before}{inside}-x 'v' {before}" if given_it else before * 2)


def test_values_are_not_read_again() -> None:
    assert render("'${{inputs.a}}'", {"a": "${{inputs.b}} $[[x]]"}, {}) == "'${{inputs.b}} $[[x]]'"


def test_literals_as_the_sdk_sends_them() -> None:
    assert [text(value) for value in ("a b", 3, 2e-5, 1.0, True, False)] == [
        "a b",
        "3",
        "2e-05",
        "1.0",
        "True",
        "False",
    ]


def test_a_block_with_two_optionals_needs_both() -> None:
    command = "run $[[--a '${{inputs.a}}' --b '${{inputs.b}}']] end"
    assert render(command, {"a": 1, "b": None}, {}) == "run  end"
    assert render(command, {"a": 1, "b": 2}, {}) == "run --a '1' --b '2' end"


def test_all_problems_come_at_once_with_near_names() -> None:
    with pytest.raises(InvalidJob) as caught:
        render("${{inputs.traning}} ${{inputs.gone}} '${{inputs.quote}}' ${{outputs.modle}}",
               {"training": "x", "gone": None, "quote": "it's"}, {"model": "/m"})  # fmt: skip
    messages = [str(problem) for problem in caught.value.problems]
    assert messages[0] == "command: unknown inputs.traning (did you mean 'training'?)"
    assert "inputs.gone has no value" in messages[1]
    assert messages[2].startswith("quote: holds a single quote")
    assert "did you mean 'model'?" in messages[3]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("a ${{inputs.x", "no closing }}"),
        ("a $[[ b", "no closing ]]"),
        ("$[[ a $[[ b ]] ]]", "inside another"),
        ("${{parent.inputs.x}}", "neither inputs.NAME"),
        ("${{inputs.a b}}", "neither inputs.NAME"),
        ("${{}}", "neither inputs.NAME"),
    ],
)
def test_malformed_commands(command: str, message: str) -> None:
    with pytest.raises(CommandError, match=re.escape(message)):
        tokenize(command)
    with pytest.raises(InvalidJob, match=re.escape(message)):
        render(command, {}, {})


def test_tokens_know_their_quotes() -> None:
    parts = tokenize("""a "'${{inputs.d}}'" '${{inputs.s}}' $[[${{inputs.n}}]]""")
    references = [part for part in parts if isinstance(part, Reference)]
    assert [(r.name, r.quoted) for r in references] == [("d", False), ("s", True)]
    assert parts[-1] == Block((Reference("inputs", "n", False),))
    assert parts[0] == Text("""a "'""")


GOOD = "run '${{inputs.a}}' $[[--b '${{inputs.b}}']] -n ${{inputs.n}} '${{outputs.o}}'"
PORTS = {"a": Port("string"), "b": Port("uri_file", optional=True), "n": Port("integer")}


def test_a_good_command_passes() -> None:
    assert check(component(GOOD, PORTS, {"o": Port("uri_folder")})) == []


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (GOOD.replace("$[[--b '${{inputs.b}}']]", "--b '${{inputs.b}}'"), "optional input b stands outside"),
        (GOOD.replace("--b '${{inputs.b}}'", "--c"), "without an optional input is never left out"),
        (GOOD.replace("'${{inputs.a}}'", "${{inputs.a}}"), "inputs.a must stand between single quotes"),
        (GOOD.replace("'${{outputs.o}}'", '"${{outputs.o}}"'), "outputs.o must stand between single quotes"),
        (GOOD + " '${{outputs.oo}}'", "unknown outputs.oo: did you mean 'o'?"),
        (GOOD.replace(" '${{outputs.o}}'", ""), "outputs.o is declared but not used"),
        (GOOD + "; echo", "join them with &&"),
        (GOOD + "\necho", "join them with &&"),
        (GOOD + " | tee log", "a pipe hides failures"),
        (GOOD + " ${{", "no closing }}"),
    ],
)
def test_lint(command: str, message: str) -> None:
    problems = check(component(command, PORTS, {"o": Port("uri_folder")}))
    assert any(message in problem.message for problem in problems), problems
    assert all(problem.file == "c.yaml" and problem.field == "command" for problem in problems)


def test_lint_leaves_quoted_text_and_pipefail_alone() -> None:
    assert check(component("set -o pipefail && a | b && echo 'x; y | z' || c")) == []


def test_lint_of_an_optional_input_with_a_default() -> None:
    ports = {"x": Port("integer", optional=True, default=3)}
    assert "never unset" in check(component("$[[${{inputs.x}}]]", ports))[0].message
