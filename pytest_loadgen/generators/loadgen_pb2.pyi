from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LatencyFrom(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LATENCY_FROM_UNSPECIFIED: _ClassVar[LatencyFrom]
    LATENCY_FROM_SCHEDULED: _ClassVar[LatencyFrom]
    LATENCY_FROM_SENT: _ClassVar[LatencyFrom]
    LATENCY_FROM_CORRECTED: _ClassVar[LatencyFrom]

class Arrivals(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ARRIVALS_UNSPECIFIED: _ClassVar[Arrivals]
    ARRIVALS_CONSTANT: _ClassVar[Arrivals]
    ARRIVALS_POISSON: _ClassVar[Arrivals]
LATENCY_FROM_UNSPECIFIED: LatencyFrom
LATENCY_FROM_SCHEDULED: LatencyFrom
LATENCY_FROM_SENT: LatencyFrom
LATENCY_FROM_CORRECTED: LatencyFrom
ARRIVALS_UNSPECIFIED: Arrivals
ARRIVALS_CONSTANT: Arrivals
ARRIVALS_POISSON: Arrivals

class DescribeRequest(_message.Message):
    __slots__ = ("generator",)
    GENERATOR_FIELD_NUMBER: _ClassVar[int]
    generator: str
    def __init__(self, generator: _Optional[str] = ...) -> None: ...

class Description(_message.Message):
    __slots__ = ("interface_version", "name", "version", "features", "latency_from", "added_latency", "streams_intervals", "max_duration", "generators")
    INTERFACE_VERSION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FROM_FIELD_NUMBER: _ClassVar[int]
    ADDED_LATENCY_FIELD_NUMBER: _ClassVar[int]
    STREAMS_INTERVALS_FIELD_NUMBER: _ClassVar[int]
    MAX_DURATION_FIELD_NUMBER: _ClassVar[int]
    GENERATORS_FIELD_NUMBER: _ClassVar[int]
    interface_version: int
    name: str
    version: str
    features: _containers.RepeatedScalarFieldContainer[str]
    latency_from: LatencyFrom
    added_latency: float
    streams_intervals: bool
    max_duration: float
    generators: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, interface_version: _Optional[int] = ..., name: _Optional[str] = ..., version: _Optional[str] = ..., features: _Optional[_Iterable[str]] = ..., latency_from: _Optional[_Union[LatencyFrom, str]] = ..., added_latency: _Optional[float] = ..., streams_intervals: bool = ..., max_duration: _Optional[float] = ..., generators: _Optional[_Iterable[str]] = ...) -> None: ...

class Plan(_message.Message):
    __slots__ = ("generator", "target", "stages", "connections", "arrivals", "warmup", "timeout", "expect", "ready_timeout", "seed", "part", "parts", "start_at", "mix", "first")
    GENERATOR_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    ARRIVALS_FIELD_NUMBER: _ClassVar[int]
    WARMUP_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    EXPECT_FIELD_NUMBER: _ClassVar[int]
    READY_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    START_AT_FIELD_NUMBER: _ClassVar[int]
    MIX_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    generator: str
    target: Target
    stages: _containers.RepeatedCompositeFieldContainer[Stage]
    connections: int
    arrivals: Arrivals
    warmup: float
    timeout: float
    expect: _containers.RepeatedScalarFieldContainer[str]
    ready_timeout: float
    seed: int
    part: int
    parts: int
    start_at: float
    mix: _containers.RepeatedCompositeFieldContainer[NamedRequest]
    first: int
    def __init__(self, generator: _Optional[str] = ..., target: _Optional[_Union[Target, _Mapping]] = ..., stages: _Optional[_Iterable[_Union[Stage, _Mapping]]] = ..., connections: _Optional[int] = ..., arrivals: _Optional[_Union[Arrivals, str]] = ..., warmup: _Optional[float] = ..., timeout: _Optional[float] = ..., expect: _Optional[_Iterable[str]] = ..., ready_timeout: _Optional[float] = ..., seed: _Optional[int] = ..., part: _Optional[int] = ..., parts: _Optional[int] = ..., start_at: _Optional[float] = ..., mix: _Optional[_Iterable[_Union[NamedRequest, _Mapping]]] = ..., first: _Optional[int] = ...) -> None: ...

class NamedRequest(_message.Message):
    __slots__ = ("name", "target", "weight", "expect")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    EXPECT_FIELD_NUMBER: _ClassVar[int]
    name: str
    target: Target
    weight: int
    expect: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., target: _Optional[_Union[Target, _Mapping]] = ..., weight: _Optional[int] = ..., expect: _Optional[_Iterable[str]] = ...) -> None: ...

class Stage(_message.Message):
    __slots__ = ("start", "end", "seconds")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    start: str
    end: str
    seconds: float
    def __init__(self, start: _Optional[str] = ..., end: _Optional[str] = ..., seconds: _Optional[float] = ...) -> None: ...

class Target(_message.Message):
    __slots__ = ("url", "scheme", "host", "port", "method", "path", "headers", "body", "verify", "ca_certificates", "http2")
    URL_FIELD_NUMBER: _ClassVar[int]
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    VERIFY_FIELD_NUMBER: _ClassVar[int]
    CA_CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    HTTP2_FIELD_NUMBER: _ClassVar[int]
    url: str
    scheme: str
    host: str
    port: int
    method: str
    path: bytes
    headers: _containers.RepeatedCompositeFieldContainer[Header]
    body: bytes
    verify: bool
    ca_certificates: bytes
    http2: bool
    def __init__(self, url: _Optional[str] = ..., scheme: _Optional[str] = ..., host: _Optional[str] = ..., port: _Optional[int] = ..., method: _Optional[str] = ..., path: _Optional[bytes] = ..., headers: _Optional[_Iterable[_Union[Header, _Mapping]]] = ..., body: _Optional[bytes] = ..., verify: bool = ..., ca_certificates: _Optional[bytes] = ..., http2: bool = ...) -> None: ...

class Header(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: bytes
    value: bytes
    def __init__(self, name: _Optional[bytes] = ..., value: _Optional[bytes] = ...) -> None: ...

class Interval(_message.Message):
    __slots__ = ("start", "seconds", "latency", "service_time", "outcomes", "lag", "cpu", "throttled", "received", "retried", "never_sent", "stalled", "unseen", "first_byte", "names", "reasons", "connections")
    class OutcomesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class NamesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: NamedFigures
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[NamedFigures, _Mapping]] = ...) -> None: ...
    class ReasonsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    START_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    SERVICE_TIME_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    LAG_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    THROTTLED_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    RETRIED_FIELD_NUMBER: _ClassVar[int]
    NEVER_SENT_FIELD_NUMBER: _ClassVar[int]
    STALLED_FIELD_NUMBER: _ClassVar[int]
    UNSEEN_FIELD_NUMBER: _ClassVar[int]
    FIRST_BYTE_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    start: float
    seconds: float
    latency: Histogram
    service_time: Histogram
    outcomes: _containers.ScalarMap[str, int]
    lag: Histogram
    cpu: float
    throttled: float
    received: int
    retried: int
    never_sent: int
    stalled: float
    unseen: int
    first_byte: Histogram
    names: _containers.MessageMap[str, NamedFigures]
    reasons: _containers.ScalarMap[str, str]
    connections: int
    def __init__(self, start: _Optional[float] = ..., seconds: _Optional[float] = ..., latency: _Optional[_Union[Histogram, _Mapping]] = ..., service_time: _Optional[_Union[Histogram, _Mapping]] = ..., outcomes: _Optional[_Mapping[str, int]] = ..., lag: _Optional[_Union[Histogram, _Mapping]] = ..., cpu: _Optional[float] = ..., throttled: _Optional[float] = ..., received: _Optional[int] = ..., retried: _Optional[int] = ..., never_sent: _Optional[int] = ..., stalled: _Optional[float] = ..., unseen: _Optional[int] = ..., first_byte: _Optional[_Union[Histogram, _Mapping]] = ..., names: _Optional[_Mapping[str, NamedFigures]] = ..., reasons: _Optional[_Mapping[str, str]] = ..., connections: _Optional[int] = ...) -> None: ...

class NamedFigures(_message.Message):
    __slots__ = ("latency", "service_time", "outcomes", "first_byte", "received", "never_sent")
    class OutcomesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    SERVICE_TIME_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    FIRST_BYTE_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    NEVER_SENT_FIELD_NUMBER: _ClassVar[int]
    latency: Histogram
    service_time: Histogram
    outcomes: _containers.ScalarMap[str, int]
    first_byte: Histogram
    received: int
    never_sent: int
    def __init__(self, latency: _Optional[_Union[Histogram, _Mapping]] = ..., service_time: _Optional[_Union[Histogram, _Mapping]] = ..., outcomes: _Optional[_Mapping[str, int]] = ..., first_byte: _Optional[_Union[Histogram, _Mapping]] = ..., received: _Optional[int] = ..., never_sent: _Optional[int] = ...) -> None: ...

class Histogram(_message.Message):
    __slots__ = ("hdr", "ranges")
    HDR_FIELD_NUMBER: _ClassVar[int]
    RANGES_FIELD_NUMBER: _ClassVar[int]
    hdr: bytes
    ranges: _containers.RepeatedCompositeFieldContainer[Range]
    def __init__(self, hdr: _Optional[bytes] = ..., ranges: _Optional[_Iterable[_Union[Range, _Mapping]]] = ...) -> None: ...

class Range(_message.Message):
    __slots__ = ("low", "high", "count")
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    low: int
    high: int
    count: int
    def __init__(self, low: _Optional[int] = ..., high: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...
