"""Environment variables that say of the teacher what a job leaves out."""

ENDPOINT_VARIABLE = "AZURE_DISTILL_TEACHER_ENDPOINT"
KEY_VARIABLE = "AZURE_DISTILL_TEACHER_API_KEY"
