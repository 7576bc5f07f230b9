"""Documents that leave the clinic: PDF, DICOM, FHIR, overlays. Imports everything but batch."""
