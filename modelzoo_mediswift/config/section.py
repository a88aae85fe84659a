"""What every section of the configuration shares: strict keys, and errors in our own words."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NoReturn, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import InitErrorDetails, PydanticCustomError

from modelzoo_mediswift.config.modelzoo_keys import Refused

Location = tuple[str | int, ...]

DERIVED: Any = None
"""Default of a field whose validator computes it from the fields above it."""


def show(value: object) -> str:
    """A value as the user would have written it in YAML, short enough for one line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        if any(isinstance(item, Mapping | list | tuple) for item in value):
            return "a list"
        return _shorten(f"[{', '.join(map(show, value))}]")
    return f'"{_shorten(value)}"' if isinstance(value, str) else _shorten(str(value))


def _shorten(text: str) -> str:
    return printable(text if len(text) <= 40 else f"{text[:37]}...")


def printable(text: str) -> str:
    """Line breaks and other control characters as escapes, so that a message stays one line."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


@dataclass(frozen=True)
class Problem:
    """One mistake in a section: where, relative to the section, and what."""

    at: Location
    message: str
    value: object = None

    def details(self) -> InitErrorDetails:
        # The text goes in as a parameter, since the template would interpret braces in it.
        error = PydanticCustomError("problem", "{text}", {"text": self.message})
        return InitErrorDetails(type=error, loc=self.at, input=self.value)


def raise_problems(title: str, problems: list[Problem]) -> NoReturn:
    """Raise several mistakes at once, each with its own location."""
    raise ValidationError.from_exception_data(title, [p.details() for p in problems])


def problem(message: str) -> PydanticCustomError:
    """The mistake of the value that is being validated."""
    return PydanticCustomError("problem", "{text}", {"text": message})


def expected(what: str) -> WrapValidator:
    """Replace whatever a validator complains about by "expected <what>, got <value>"."""

    def validate(value: object, handler: ValidatorFunctionWrapHandler) -> object:
        try:
            return handler(value)
        except ValidationError:
            raise problem(f"expected {what}, got {show(value)}") from None

    return WrapValidator(validate)


def _below(limit: int) -> AfterValidator:
    def validate(value: int) -> int:
        if value >= limit:
            raise problem(f"expected an integer < {limit}, got {show(value)}")
        return value

    return AfterValidator(validate)


PositiveInt = Annotated[int, Field(ge=1), expected("an integer >= 1"), _below(2**31)]
NonNegativeInt = Annotated[int, Field(ge=0), expected("an integer >= 0"), _below(2**31)]
Seed = Annotated[int, Field(ge=0), expected("an integer >= 0"), _below(2**63)]
PositiveFloat = Annotated[float, Field(gt=0), expected("a number > 0")]
NonNegativeFloat = Annotated[float, Field(ge=0), expected("a number >= 0")]
Number = Annotated[float, expected("a number")]
Probability = Annotated[float, Field(ge=0, lt=1), expected("a number in [0, 1)")]
Text = Annotated[str, Field(min_length=1), expected("text")]


def _literal_path(value: str) -> str:
    """Else a folder named `~` would be made, or the system asked for a name that none can have."""
    if "\0" in value:
        raise problem("expected a path, got one with a zero byte in it")
    if value.startswith(("~", "$")):
        raise problem(f"expected a path in full (`~` and `$` are a shell's), got {show(value)}")
    return value


PathText = Annotated[str, Field(min_length=1), expected("a path"), AfterValidator(_literal_path)]


def _listed(value: object) -> object:
    """A lone value or a YAML list as a tuple; strict tuples accept no list by themselves."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


OneOrMore = BeforeValidator(_listed)
ListOnly = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)


def mappings(value: object, what: str) -> tuple[object, ...]:
    """A list of mappings; a lone one is a list of one, null is none. `what` is for the message."""
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return tuple(value)
    if isinstance(value, Mapping):
        return (value,)
    raise problem(f"expected {what}, got {show(value)}")


class Section(BaseModel):
    """A mapping of the YAML. Unknown keys are errors; so are Model Zoo's that do nothing here."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        populate_by_name=True,
        protected_namespaces=(),
    )

    refused: ClassVar[Mapping[str, Refused]] = {}
    synonyms: ClassVar[frozenset[str]] = frozenset()
    """Field names that a file may write in place of the field's alias."""

    @classmethod
    def keys(cls) -> dict[str, str]:
        """YAML key -> field name."""
        return {field.alias or name: name for name, field in cls.model_fields.items()}

    @model_validator(mode="wrap")
    @classmethod
    def _check_keys(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(data, cls):
            return handler(data)
        if not isinstance(data, Mapping):
            raise problem(f"expected a mapping, got {show(data)}")
        known = cls.keys()
        problems = []
        kept = {}
        for key, value in data.items():
            if key in known or key in cls.synonyms:
                kept[key] = value
            elif key not in cls.refused:
                problems.append(Problem((key,), unknown("key", key, known), value))
            elif not cls.refused[key].harmless(value):
                reason = cls.refused[key].reason
                problems.append(Problem((key,), f"{reason} (got {show(value)})", value))
        try:
            config = handler(kept)
        except ValidationError as error:
            problems += [
                Problem(item["loc"], describe(item), item["input"])
                for item in error.errors(include_url=False)
            ]
        if problems:
            raise_problems(cls.__name__, problems)
        return config


class Named(Section):
    """A section that the YAML writes as ``{Name: {...}}``, where Name is the class."""

    @property
    def key(self) -> str:
        """Name in the YAML."""
        return type(self).__name__

    def arguments(self) -> dict[str, Any]:
        """Field names and values."""
        return {name: getattr(self, name) for name in type(self).model_fields}


def named(
    classes: tuple[type[Named], ...],
    what: str,
    refused: Mapping[str, str],
    also_known: tuple[str, ...] = (),
) -> Callable[[object], Any]:
    """A validator that turns ``{Name: {...}}`` into one of ``classes``.

    Names are compared without regard to case, as Model Zoo does. ``refused`` maps the names
    that Model Zoo has and we do not to the reason; ``also_known`` only goes into messages.
    """
    by_name = {cls.__name__.lower(): cls for cls in classes}
    refused_lower = {name.lower(): (name, reason) for name, reason in refused.items()}

    def validate(value: object) -> Any:
        if isinstance(value, classes):
            return value
        name, arguments = unpack(value, what)
        cls = by_name.get(name.lower())
        if cls is None:
            known = [*(cls.__name__ for cls in classes), *also_known]
            if name.lower() in refused_lower:
                proper, reason = refused_lower[name.lower()]
                raise problem(f"{proper} is Model Zoo's but not supported here: {reason}")
            raise problem(unknown(what, name, known))
        if arguments is None:
            raise_problems(what, [Problem((name,), "expected {} or a mapping, got null")])
        try:
            return cls.model_validate(arguments)
        except ValidationError as error:
            raise_problems(
                cls.__name__,
                [
                    Problem((name, *item["loc"]), describe(item), item["input"])
                    for item in error.errors(include_url=False)
                ],
            )

    return validate


def unpack(value: object, what: str) -> tuple[str, object]:
    """Name and arguments of ``{Name: {...}}``."""
    if not isinstance(value, Mapping) or len(value) != 1:
        raise problem(f"expected one {what} written as `Name: {{...}}`, got {show_keys(value)}")
    ((name, arguments),) = value.items()
    return str(name), arguments


def show_keys(value: object) -> str:
    """Like ``show``, but a mapping shows its keys."""
    if isinstance(value, Mapping):
        return f"the keys {_shorten(', '.join(value))}" if value else "an empty mapping"
    return show(value)


def unknown(what: str, name: object, known: Mapping[str, object] | list[str]) -> str:
    """Message about an unknown name: the nearest known one, then all of them."""
    by_lower = {item.lower(): item for item in known}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.6)
    hint = f'; did you mean "{by_lower[close[0]]}"?' if close else ""
    return f'unknown {what} "{printable(str(name))}"{hint} (known: {", ".join(sorted(known))})'


_KINDS: dict[str, str] = {
    "bool_type": "true or false",
    "string_type": "text",
    "int_type": "an integer",
    "float_type": "a number",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
}


def describe(item: Any) -> str:
    """One of pydantic's errors in our words; our own pass through."""
    if item["type"] == "missing":
        return "missing; this key is required"
    if item["type"] == "too_short":
        return f"expected at least one entry, got {show(item['input'])}"
    if item["type"] in _KINDS:
        return f"expected {_KINDS[item['type']]}, got {show(item['input'])}"
    return str(item["msg"])


def only(value: object, default: str, reasons: Mapping[str, str]) -> Callable[[object], object]:
    """A validator for a key of which one value is supported; the others have their reasons."""

    def validate(given: object) -> object:
        if given == value and type(given) is type(value):
            return given
        reason = reasons.get(str(given), default)
        raise problem(f"{reason}; supported: {show(value).strip(chr(34))} (got {show(given)})")

    return validate
