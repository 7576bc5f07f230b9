"""The Streamlit viewer: review, batch and model pages."""
