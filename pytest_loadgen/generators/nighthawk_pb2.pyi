from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import wrappers_pb2 as _wrappers_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RequestMethod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    METHOD_UNSPECIFIED: _ClassVar[RequestMethod]
    GET: _ClassVar[RequestMethod]
    HEAD: _ClassVar[RequestMethod]
    POST: _ClassVar[RequestMethod]
    PUT: _ClassVar[RequestMethod]
    DELETE: _ClassVar[RequestMethod]
    CONNECT: _ClassVar[RequestMethod]
    OPTIONS: _ClassVar[RequestMethod]
    TRACE: _ClassVar[RequestMethod]
METHOD_UNSPECIFIED: RequestMethod
GET: RequestMethod
HEAD: RequestMethod
POST: RequestMethod
PUT: RequestMethod
DELETE: RequestMethod
CONNECT: RequestMethod
OPTIONS: RequestMethod
TRACE: RequestMethod

class ExecutionRequest(_message.Message):
    __slots__ = ("start_request",)
    START_REQUEST_FIELD_NUMBER: _ClassVar[int]
    start_request: StartRequest
    def __init__(self, start_request: _Optional[_Union[StartRequest, _Mapping]] = ...) -> None: ...

class StartRequest(_message.Message):
    __slots__ = ("options",)
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    options: CommandLineOptions
    def __init__(self, options: _Optional[_Union[CommandLineOptions, _Mapping]] = ...) -> None: ...

class CommandLineOptions(_message.Message):
    __slots__ = ("requests_per_second", "connections", "duration", "timeout", "address_family", "request_options", "max_pending_requests", "max_active_requests", "sequencer_idle_strategy", "uri", "open_loop", "protocol", "no_default_failure_predicates")
    REQUESTS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FAMILY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    MAX_PENDING_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    MAX_ACTIVE_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCER_IDLE_STRATEGY_FIELD_NUMBER: _ClassVar[int]
    URI_FIELD_NUMBER: _ClassVar[int]
    OPEN_LOOP_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    NO_DEFAULT_FAILURE_PREDICATES_FIELD_NUMBER: _ClassVar[int]
    requests_per_second: _wrappers_pb2.UInt32Value
    connections: _wrappers_pb2.UInt32Value
    duration: _duration_pb2.Duration
    timeout: _duration_pb2.Duration
    address_family: AddressFamily
    request_options: RequestOptions
    max_pending_requests: _wrappers_pb2.UInt32Value
    max_active_requests: _wrappers_pb2.UInt32Value
    sequencer_idle_strategy: SequencerIdleStrategy
    uri: _wrappers_pb2.StringValue
    open_loop: _wrappers_pb2.BoolValue
    protocol: Protocol
    no_default_failure_predicates: _wrappers_pb2.BoolValue
    def __init__(self, requests_per_second: _Optional[_Union[_wrappers_pb2.UInt32Value, _Mapping]] = ..., connections: _Optional[_Union[_wrappers_pb2.UInt32Value, _Mapping]] = ..., duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., timeout: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., address_family: _Optional[_Union[AddressFamily, _Mapping]] = ..., request_options: _Optional[_Union[RequestOptions, _Mapping]] = ..., max_pending_requests: _Optional[_Union[_wrappers_pb2.UInt32Value, _Mapping]] = ..., max_active_requests: _Optional[_Union[_wrappers_pb2.UInt32Value, _Mapping]] = ..., sequencer_idle_strategy: _Optional[_Union[SequencerIdleStrategy, _Mapping]] = ..., uri: _Optional[_Union[_wrappers_pb2.StringValue, _Mapping]] = ..., open_loop: _Optional[_Union[_wrappers_pb2.BoolValue, _Mapping]] = ..., protocol: _Optional[_Union[Protocol, _Mapping]] = ..., no_default_failure_predicates: _Optional[_Union[_wrappers_pb2.BoolValue, _Mapping]] = ...) -> None: ...

class AddressFamily(_message.Message):
    __slots__ = ("value",)
    class AddressFamilyOptions(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        AUTO: _ClassVar[AddressFamily.AddressFamilyOptions]
        V4: _ClassVar[AddressFamily.AddressFamilyOptions]
        V6: _ClassVar[AddressFamily.AddressFamilyOptions]
    AUTO: AddressFamily.AddressFamilyOptions
    V4: AddressFamily.AddressFamilyOptions
    V6: AddressFamily.AddressFamilyOptions
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: AddressFamily.AddressFamilyOptions
    def __init__(self, value: _Optional[_Union[AddressFamily.AddressFamilyOptions, str]] = ...) -> None: ...

class Protocol(_message.Message):
    __slots__ = ("value",)
    class ProtocolOptions(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        HTTP1: _ClassVar[Protocol.ProtocolOptions]
        HTTP2: _ClassVar[Protocol.ProtocolOptions]
        HTTP3: _ClassVar[Protocol.ProtocolOptions]
    HTTP1: Protocol.ProtocolOptions
    HTTP2: Protocol.ProtocolOptions
    HTTP3: Protocol.ProtocolOptions
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: Protocol.ProtocolOptions
    def __init__(self, value: _Optional[_Union[Protocol.ProtocolOptions, str]] = ...) -> None: ...

class SequencerIdleStrategy(_message.Message):
    __slots__ = ("value",)
    class SequencerIdleStrategyOptions(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        DEFAULT: _ClassVar[SequencerIdleStrategy.SequencerIdleStrategyOptions]
        SPIN: _ClassVar[SequencerIdleStrategy.SequencerIdleStrategyOptions]
        POLL: _ClassVar[SequencerIdleStrategy.SequencerIdleStrategyOptions]
        SLEEP: _ClassVar[SequencerIdleStrategy.SequencerIdleStrategyOptions]
    DEFAULT: SequencerIdleStrategy.SequencerIdleStrategyOptions
    SPIN: SequencerIdleStrategy.SequencerIdleStrategyOptions
    POLL: SequencerIdleStrategy.SequencerIdleStrategyOptions
    SLEEP: SequencerIdleStrategy.SequencerIdleStrategyOptions
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: SequencerIdleStrategy.SequencerIdleStrategyOptions
    def __init__(self, value: _Optional[_Union[SequencerIdleStrategy.SequencerIdleStrategyOptions, str]] = ...) -> None: ...

class RequestOptions(_message.Message):
    __slots__ = ("request_method", "request_headers")
    REQUEST_METHOD_FIELD_NUMBER: _ClassVar[int]
    REQUEST_HEADERS_FIELD_NUMBER: _ClassVar[int]
    request_method: RequestMethod
    request_headers: _containers.RepeatedCompositeFieldContainer[HeaderValueOption]
    def __init__(self, request_method: _Optional[_Union[RequestMethod, str]] = ..., request_headers: _Optional[_Iterable[_Union[HeaderValueOption, _Mapping]]] = ...) -> None: ...

class HeaderValueOption(_message.Message):
    __slots__ = ("header",)
    HEADER_FIELD_NUMBER: _ClassVar[int]
    header: HeaderValue
    def __init__(self, header: _Optional[_Union[HeaderValue, _Mapping]] = ...) -> None: ...

class HeaderValue(_message.Message):
    __slots__ = ("key", "value")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: str
    def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class ExecutionResponse(_message.Message):
    __slots__ = ("output", "error_detail")
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    ERROR_DETAIL_FIELD_NUMBER: _ClassVar[int]
    output: Output
    error_detail: Status
    def __init__(self, output: _Optional[_Union[Output, _Mapping]] = ..., error_detail: _Optional[_Union[Status, _Mapping]] = ...) -> None: ...

class Status(_message.Message):
    __slots__ = ("code", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class Output(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[Result]
    def __init__(self, results: _Optional[_Iterable[_Union[Result, _Mapping]]] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("name", "statistics", "counters", "execution_duration")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_DURATION_FIELD_NUMBER: _ClassVar[int]
    name: str
    statistics: _containers.RepeatedCompositeFieldContainer[Statistic]
    counters: _containers.RepeatedCompositeFieldContainer[Counter]
    execution_duration: _duration_pb2.Duration
    def __init__(self, name: _Optional[str] = ..., statistics: _Optional[_Iterable[_Union[Statistic, _Mapping]]] = ..., counters: _Optional[_Iterable[_Union[Counter, _Mapping]]] = ..., execution_duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Counter(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: int
    def __init__(self, name: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...

class Statistic(_message.Message):
    __slots__ = ("count", "id", "percentiles", "min", "max")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    PERCENTILES_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    count: int
    id: str
    percentiles: _containers.RepeatedCompositeFieldContainer[Percentile]
    min: _duration_pb2.Duration
    max: _duration_pb2.Duration
    def __init__(self, count: _Optional[int] = ..., id: _Optional[str] = ..., percentiles: _Optional[_Iterable[_Union[Percentile, _Mapping]]] = ..., min: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., max: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Percentile(_message.Message):
    __slots__ = ("duration", "percentile", "count")
    DURATION_FIELD_NUMBER: _ClassVar[int]
    PERCENTILE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    duration: _duration_pb2.Duration
    percentile: float
    count: int
    def __init__(self, duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., percentile: _Optional[float] = ..., count: _Optional[int] = ...) -> None: ...
