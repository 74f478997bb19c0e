"""The backend that runs plans on Azure Machine Learning; the only package that imports azure.*, and only when used."""
