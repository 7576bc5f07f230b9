"""DICOM and FHIR documents. Imports export and what it imports."""
