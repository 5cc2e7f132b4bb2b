"""A YAML file whose every value is checked as it is read: what is wrong is one line with file, key,
expectation and remedy.

`{name}` in a text stands for a value that is given beside it; a text that is nothing else becomes
the value itself, and in a list, if that is a list, all of its items.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rnnbench.errors import UserError, unknown

NAME = re.compile(r"(?<!\$)\{(\w+)\}")  # ${name} is Hydra's


class Checked:
    """values: what the file holds.

    Each method returns a value of a kind, or raises UserError naming its key.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            found: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        except yaml.MarkedYAMLError as error:
            line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
            raise self.wrong(
                f"{line}{error.problem}; a text with braces, commas or colons needs quotes"
            ) from None
        except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
            raise self.wrong("must be YAML in UTF-8", " ".join(str(error).split())) from None
        self.values = self.table("the file", found)

    def wrong(self, expected: str, found: Any = None) -> UserError:
        got = "" if found is None else f", got {found if isinstance(found, str) else repr(found)}"
        return UserError(f"{self.path.name}: {expected}{got}")

    def keys(
        self,
        where: str,
        values: Mapping[str, Any],
        needs: Iterable[str],
        may: Iterable[str] = (),
        of: str = "",
    ) -> None:
        """Refuse a table that has other keys, or lacks one that is needed.

        of: what the keys belong to, for messages.
        """
        prefix, needs = f"{where}." if where else "", tuple(needs)
        known = (*needs, *may)
        for key in values:
            if key not in known:
                raise self.wrong(f"{prefix}{key}: {unknown(f'key{of}', key, known)}")
        for key in needs:
            if values.get(key) in (None, [], ""):
                raise self.wrong(
                    f"{prefix}{key} is missing or empty; give it a "
                    f"value{f', which the keys{of} need' if of else ''}"
                )

    def filled(self, key: str, value: Any, names: Mapping[str, Any]) -> Any:
        """`value` with what `names` says in place of every {name}."""
        if isinstance(value, Mapping):
            return {
                name: self.filled(f"{key}.{name}".lstrip("."), item, names)
                for name, item in value.items()
            }
        if isinstance(value, list):
            made = [(item, self.filled(key, item, names)) for item in value]
            return [
                part
                for item, whole in made
                for part in (
                    whole if isinstance(item, str) and isinstance(whole, list) else [whole]
                )
            ]
        if not isinstance(value, str):
            return value
        for name in NAME.findall(value):
            if name not in names:
                raise self.wrong(
                    f"{key}: {unknown('name in braces', name, names)}; each of the scales gives "
                    f"it a value"
                )
        whole = NAME.fullmatch(value)
        return names[whole[1]] if whole else NAME.sub(lambda found: str(names[found[1]]), value)

    def table(self, key: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise self.wrong(f"{key} must be a table {{name: value}}", repr(value))
        return {str(name): item for name, item in value.items()}

    def filter(self, key: str, value: Any) -> dict[str, Any]:
        """Column → a value, a list of values, or {min: a, max: b}."""
        made = self.table(key, {} if value is None else value)
        for column, wanted in made.items():
            if isinstance(wanted, Mapping) and not (wanted and wanted.keys() <= {"min", "max"}):
                raise self.wrong(
                    f"{key}.{column} must be a value, a list of values or {{min: a, max: b}}",
                    dict(wanted),
                )
        return made

    def items(self, key: str, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise self.wrong(f"{key} must be a list [a, b]", repr(value))
        return value

    def text(self, key: str, value: Any) -> str:
        if not isinstance(value, str):
            raise self.wrong(
                f"{key} must be a text, in quotes if YAML reads something else", repr(value)
            )
        return value

    def text_or_table(self, key: str, value: Any) -> str | dict[str, str]:
        if not isinstance(value, Mapping):
            return self.text(key, value)
        return {name: self.text(f"{key}.{name}", text) for name, text in value.items()}

    def texts(self, key: str, value: Any) -> tuple[str, ...]:
        return tuple(self.text(key, item) for item in self.items(key, value))

    def flag(self, key: str, value: Any) -> bool:
        if not isinstance(value, bool):
            raise self.wrong(f"{key} must be true or false", repr(value))
        return value

    def one_of(self, key: str, value: Any, known: Sequence[str]) -> str:
        if value not in known:
            raise self.wrong(f"{key} must be {' or '.join(known)}", repr(value))
        return str(value)

    def margin(self, key: str, value: Any) -> float | str:
        """A number above 0, or a text such as '5%'."""
        number = (
            value.removesuffix("%") if isinstance(value, str) and value.endswith("%") else value
        )
        try:
            positive = not isinstance(number, (bool, str)) or number is not value
            if positive and float(number) > 0:
                return value if isinstance(value, str) else float(value)
        except (TypeError, ValueError):
            pass
        raise self.wrong(f"{key} must be a number above 0, or a share such as '5%'", repr(value))

    def span(self, key: str, value: Any) -> tuple[float, float]:
        if not (
            isinstance(value, list)
            and len(value) == 2
            and all(isinstance(v, (int, float)) for v in value)
            and value[0] <= value[1]
        ):
            raise self.wrong(f"{key} must be [low, high], two numbers", repr(value))
        return float(value[0]), float(value[1])
