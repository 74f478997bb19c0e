"""DistillationJob: what a user writes, in YAML or in Python.  `docs/jobs.md` explains it field by field."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, PrivateAttr, Tag, ValidationError

from azure_distill.errors import InvalidJob
from azure_distill.spec.problems import to_problems
from azure_distill.spec.yaml_source import Source, read_yaml

TaskType = Literal["nli", "conversation", "nlu_qa", "math", "summarization", "classification"]
LABEL_TASKS = ("nli", "nlu_qa", "classification")

# The metrics that the evaluation knows, by task; `bleu` and `rouge` spellings as Azure and the field write them.
_EVERY_TASK = ("accuracy", "inference_time")
_TEXT = ("exact_match", "token_f1", "bleu_score", "chrf", "rouge_1", "rouge_2", "rouge_l")
METRICS: dict[str, tuple[str, ...]] = {
    "nli": (*_EVERY_TASK, "macro_f1"),
    "nlu_qa": (*_EVERY_TASK, "macro_f1"),
    "classification": (*_EVERY_TASK, "macro_f1"),
    "math": (*_EVERY_TASK, *_TEXT, "numeric_match"),
    "conversation": (*_EVERY_TASK, *_TEXT),
    "summarization": (*_EVERY_TASK, *_TEXT),
}

# What a check of the gate may name beside metrics, and `METRIC_gain`, `METRIC_retention`.
GATE_FIGURES = (
    "gain", "retention",
    "agreement", "format_validity", "fact_recall", "kl_to_teacher", "perplexity", "ece",
    "parameters", "weight_bytes", "peak_memory_bytes", "tokens_per_s",
)  # fmt: skip
# `FIGURE >= NUMBER`, also with `>`, `<=` and `<`.
GATE_CHECK = r"^\s*(\w+)\s*(>=|<=|>|<)\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"

Api = Literal["openai", "azure_openai", "foundry", "serverless", "anthropic", "vllm", "llama_cpp", "ollama"]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=10**9)]
EnvironmentName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Part(BaseModel):
    """A part of a job: unknown keys are errors, and what was validated does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Sampling(Part):
    """How the teacher's answers are drawn.  `few_shot` solved gold rows stand before each question.

    Of `samples` answers a row, `selection` says which are learnt: the one that most agree with (`majority`), one that
    agrees with the row's own (`gold`), or all that differ.  Useless answers are asked for again, `re_asks` times.
    """

    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int = Field(512, ge=1)
    few_shot: int = Field(0, ge=0, le=64)
    examples: str | None = None
    seed: int | None = None
    samples: int = Field(1, ge=1, le=64)
    selection: Literal["all", "majority", "gold"] | None = None
    re_asks: int = Field(1, ge=0, le=16)


class Prices(Part):
    """US dollars for a million tokens."""

    input_per_million: float = Field(ge=0)
    output_per_million: float = Field(ge=0)


class Hyperparameters(Part):
    """How a model is trained; what is left out comes from the student's preset.

    `temperature` softens what the student learns from: the softmax of both for `label_logits` and a hosted teacher's
    `logits`, else the teacher's sampling.  `lora_rank` 0 trains the weights themselves, `trained_layers` the last so
    many layers only.  `patience` is the number of epochs without a better validation result after which training stops.
    """

    learning_rate: float | None = Field(None, gt=0, le=1)
    batch_size: Count | None = None
    num_epochs: Count | None = None
    temperature: float | None = Field(None, ge=0, le=20)
    max_length: int | None = Field(None, ge=8, le=10**9)
    warmup_ratio: Share | None = None
    weight_decay: float | None = Field(None, ge=0, le=1)
    gradient_accumulation_steps: Count | None = None
    lora_rank: int | None = Field(None, ge=0, le=1024)
    lora_alpha: Count | None = None
    trained_layers: Count | None = None
    patience: Count | None = None
    seed: int | None = Field(None, ge=0, lt=2**32)
    target_modules: list[str] | None = Field(None, min_length=1)
    quantization: Literal["4bit"] | None = None
    keep_adapter: bool | None = None
    keep_layers: Count | None = None
    checkpoint_minutes: float | None = Field(None, ge=0)
    sharding: Literal["none", "full"] | None = None
    packing: bool | None = None
    gradient_checkpointing: bool | None = None


class TeacherModel(Part):
    """A teacher: reached at an `endpoint`, or hosted by the component from open weights (`path` or the catalog's).

    Secrets are named, never given: `api_key_env` (an environment variable, for runs on this machine) and `connection`
    (of the workspace, for runs in Azure), `key_vault` (the address of a secret), or `auth: entra`.  `answers` is where
    Azure ML keeps what was paid for.
    """

    name: str
    endpoint: str | None = Field(None, pattern=r"^https?://[^\s'@]+$")
    api: Api | None = None
    deployment: str | None = None
    api_version: str | None = None
    api_key_env: EnvironmentName | None = None
    connection: str | None = Field(None, pattern=r"^[\w.-]+$")
    key_vault: str | None = Field(
        None, pattern=r"^https://[A-Za-z0-9-]+\.vault\.azure\.net/secrets/[A-Za-z0-9-]+(/[0-9a-f]{32})?$"
    )
    auth: Literal["entra", "none"] | None = None
    path: str | None = None
    adapt_on: str | None = None
    adapt: Hyperparameters = Hyperparameters()
    sampling: Sampling = Sampling()
    max_concurrency: int = Field(64, ge=1, le=4096)
    requests_per_minute: int | None = Field(None, ge=1)
    tokens_per_minute: int | None = Field(None, ge=1)
    min_endpoint_success_ratio: Share = 0.7
    prices: Prices | None = None
    answers: str | None = Field(None, pattern=r"^azureml://([^\s']+/)?datastores/[A-Za-z0-9_]+/paths/[^\s']+$")
    max_cost: float | None = Field(None, gt=0)
    constrain_labels: bool = True


class PromptSettings(Part):
    """How the teacher is asked; the student always sees the user's own prompt.  Names as in Azure's own job.

    `keep_rationale` keeps the reasoning beside the answer; a math student learns both.
    """

    system_prompt: str | None = None
    enable_chain_of_thought: bool = False
    enable_chain_of_density: bool = False
    keep_rationale: bool = False
    max_len_summary: int = Field(80, ge=1)


class Columns(Part):
    """Which columns of a table (csv, parquet, flat jsonl) make a row."""

    prompt: str | None = None
    answer: str | None = None
    system: str | None = None
    id: str | None = None
    messages: str | None = None


class DataSettings(Part):
    """How rows are cleaned and split.  `near_duplicates` is the Jaccard similarity from which rows count as one."""

    columns: Columns | None = None
    validation_split: float = Field(0.1, ge=0, lt=1)
    test_split: float = Field(0.1, ge=0, lt=1)
    seed: int = Field(0, ge=0, lt=2**63)
    near_duplicates: float | None = Field(0.9, ge=0.5, le=1)
    leakage: Literal["error", "drop"] = "error"
    balance: bool = False
    max_tokens: int | None = Field(None, ge=1)


Method = Literal["response", "label_logits", "logits"]
Mixture = Annotated[dict[Method, Annotated[float, Field(gt=0)]], Field(min_length=1)]


class Distillation(Part):
    """What the student learns from: the teacher's text, its probabilities of the labels, or of the tokens.

    `method` is one, or several with their shares of the loss.  The loss of one is (1 - weight) · cross-entropy +
    weight · T² · divergence.  The shares grow from 0 during the first `ramp` of the training.
    """

    method: Annotated[
        Annotated[Method, Tag("[name]")] | Annotated[Mixture, Tag("[mixture]")],
        Discriminator(lambda value: "[mixture]" if isinstance(value, dict) else "[name]"),
    ] = "response"
    temperature: float | None = Field(None, gt=0, le=20)
    weight: Share | None = None
    ramp: Share | None = None
    divergence: Literal["forward_kl", "reverse_kl", "jsd"] | None = None

    def uses(self, method: Method) -> bool:
        return method in self.method if isinstance(self.method, dict) else method == self.method


class Judge(Part):
    """A model that is asked which answer is better, the student's or the teacher's, on at most `rows` test rows.

    `endpoint` and the names of its secrets are as those of `teacher_model`.
    """

    endpoint: str = Field(pattern=r"^https?://[^\s'@]+$")
    model: str
    api_key_env: EnvironmentName | None = None
    connection: str | None = Field(None, pattern=r"^[\w.-]+$")
    auth: Literal["entra", "none"] | None = None
    rows: int = Field(100, ge=1)


class Evaluation(Part):
    """What is measured on the held-out rows, and what the student must reach before it can be registered.

    `gate` lists further checks, such as `macro_f1 >= 0.8`.  `gold_baseline` also trains the same student on the gold
    rows alone (`teacher_model.adapt_on`).  `other_model` is compared, too: a registered one, a folder, an id.
    """

    metrics: list[str] | None = None
    min_accuracy_gain: float | None = Field(None, ge=-1, le=1)
    min_retention: float | None = Field(None, ge=0)
    gate: list[str] = []
    judge: Judge | None = None
    gold_baseline: bool = False
    other_model: str | None = None


class Compute(Part):
    """Where one step runs on Azure ML; the local backend ignores it and says so.

    `compute` is a cluster of the workspace; without it the step runs on serverless compute.  `timeout` is in seconds,
    `identity` is whose the step uses (the submitting user's or the machine's), `client_id` which of the machine's,
    `shm_size` its shared memory (`16g`).  `instance_count` machines run `processes_per_instance` processes each (one a
    GPU when left out), if the component can be distributed.  `environment` overrules what the plan chooses.
    """

    compute: str | None = Field(None, pattern=r"^[A-Za-z][A-Za-z0-9-]{1,31}$")
    instance_type: str | None = Field(None, pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")
    instance_count: int | None = Field(None, ge=1)
    processes_per_instance: int | None = Field(None, ge=1)
    tier: Literal["spot", "standard"] | None = None
    timeout: int | None = Field(None, ge=1)
    identity: Literal["user", "managed"] | None = None
    client_id: str | None = Field(None, pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")
    environment: Literal["cpu", "gpu"] | None = None
    shm_size: str | None = Field(None, pattern=r"^[1-9][0-9]*[kmgKMG]$")


def _teacher(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class DistillationJob(Part):
    """One distillation, from a teacher and data to a compared student.

    Raises InvalidJob with every problem at once.  Relative paths count from `folder`: the job file's own, or the
    current one for a job made in Python.
    """

    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,60}$")
    description: str | None = None
    experiment_name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$")
    teacher_model: Annotated[TeacherModel, BeforeValidator(_teacher)]
    student_model: str
    training_data: str
    validation_data: str | None = None
    test_data: str | None = None
    task_type: TaskType
    labels: list[str] = []
    prompt_settings: PromptSettings = PromptSettings()
    data: DataSettings = DataSettings()
    hyperparameters: Hyperparameters = Hyperparameters()
    distillation: Distillation = Distillation()
    evaluation: Evaluation = Evaluation()
    compute: dict[
        Literal["default", "prepare_data", "teacher_adaptation", "teacher_inference", "gold_finetune",
                "student_finetune", "evaluation"],
        Compute,
    ] = {}  # fmt: skip

    _folder: Path = PrivateAttr(default_factory=Path.cwd)
    _source: Source | None = PrivateAttr(None)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InvalidJob(to_problems(error, type(self), None)) from None

    @classmethod
    def from_file(cls, path: str | Path) -> DistillationJob:
        """Read a job file; every problem names its line."""
        path = Path(path)
        source = read_yaml(path)
        try:
            job = cls.of_source(source, path)
        except ValidationError as error:
            raise InvalidJob([*source.problems, *to_problems(error, cls, source)]) from None
        if source.problems:
            raise InvalidJob(source.problems)
        return job

    @classmethod
    def of_source(cls, source: Source, path: Path) -> DistillationJob:
        """The job that was read from a file; raises pydantic's own ValidationError, whose places can be told."""
        job = cls.__new__(cls)
        BaseModel.__init__(job, **source.value)
        job._folder, job._source = path.resolve().parent, source
        return job

    def capped(self, max_cost: float | None) -> DistillationJob:
        """The same job with another `teacher_model.max_cost`; itself where that is None."""
        if max_cost is None:
            return self
        teacher = self.teacher_model.model_copy(update={"max_cost": max_cost})
        return self.model_copy(update={"teacher_model": teacher})

    @property
    def folder(self) -> Path:
        """The folder that relative paths count from."""
        return self._folder

    @property
    def source(self) -> Source | None:
        """The file that the job was read from, with its lines; None for a job made in Python."""
        return self._source

    def resolve(self, path: str) -> Path:
        """A path of the job as an absolute one."""
        return (self._folder / Path(path).expanduser()).resolve()
