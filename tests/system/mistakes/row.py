"""One broken configuration."""

import dataclasses


@dataclasses.dataclass
class Row:
    name: str
    file: object = None  # text or bytes of quern.yaml; None: no file
    said: tuple = ()  # words of the message, beside the places that the file's marks name
    flags: tuple = ()
    env: dict = dataclasses.field(default_factory=dict)
    files: dict = dataclasses.field(default_factory=dict)  # further ones beside quern.yaml
    programs: tuple = ()  # "quern", "worker", "aggregator"; (): quern and one that reads such a file
    command: tuple = None  # the whole command line instead
    code: int = 78
    silent: tuple = ()  # must not be shown
