"""Tests of the catalog: real files, a real store, pipelines loaded in this process."""
