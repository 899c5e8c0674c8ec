"""The catalogue: config/proxy.yaml, typed and checked. All other parts take the service's values from here."""

from proxy.catalog.load import load_catalog, project_root
from proxy.catalog.models import Catalog, Model, Provider
from proxy.catalog.problems import CatalogError, Problem

__all__ = ["Catalog", "CatalogError", "Model", "Problem", "Provider", "load_catalog", "project_root"]
