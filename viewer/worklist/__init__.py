"""The images of one reader, without Streamlit. Imports server and drcore."""
